# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Used by our build and by the installed package: sets moebal_thrust_{target,found,missing}; `missing` is a reason, or empty.
# Thrust is headers; which system it runs on is the user's choice (THRUST_DEVICE_SYSTEM). nvcc brings its own copy.
set(moebal_thrust_target moebal_thrust_headers)
set(moebal_thrust_missing "")
find_path(MOEBAL_THRUST_INCLUDE_DIR thrust/version.h
  HINTS ${CUDAToolkit_ROOT} ENV CUDA_PATH ENV CUDA_HOME
  PATHS /usr/local/cuda
  PATH_SUFFIXES include/cccl include)
mark_as_advanced(MOEBAL_THRUST_INCLUDE_DIR)
if(NOT MOEBAL_THRUST_INCLUDE_DIR)
  set(moebal_thrust_missing
    "no Thrust was found (it comes with the CUDA toolkit and as libthrust-dev; MOEBAL_THRUST_INCLUDE_DIR names yours)")
elseif(NOT TARGET moebal_thrust_headers)
  add_library(moebal_thrust_headers INTERFACE IMPORTED)
  target_include_directories(moebal_thrust_headers SYSTEM INTERFACE
    "$<$<COMPILE_LANGUAGE:CXX>:${MOEBAL_THRUST_INCLUDE_DIR}>")
endif()
set(moebal_thrust_found "${MOEBAL_THRUST_INCLUDE_DIR}")
