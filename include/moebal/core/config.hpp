// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What the compiler must be told, and the flags that would break a promise of the library. The only other place with
// `#if` is a backend's own header.

#include <cfloat>

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ != 0)
#error "moebal: -ffast-math (or -ffinite-math-only) changes ids and weights: compile this file without it"
#endif
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#error "moebal: float arithmetic must be evaluated in float (x86-64 and AArch64 do it; on 32-bit x86 use -mfpmath=sse)"
#endif

// MOEBAL_FN marks what may run on a device.
#if defined(__CUDACC__) || defined(__HIPCC__)
#define MOEBAL_FN __host__ __device__
#else
#define MOEBAL_FN
#endif

// A host-only policy in a kernel links and misbehaves at run time unless these warnings are errors.
#if defined(__NVCC__) && defined(__NVCC_DIAG_PRAGMA_SUPPORT__)
#pragma nv_diag_error 20011
#pragma nv_diag_error 20014
#endif

#define MOEBAL_VERSION 1 // major * 10000 + minor * 100 + patch
