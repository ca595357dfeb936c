// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The instruction sets that rows are compiled for. Flags that give AVX2 with FMA, AVX-512 or NEON choose one, and nothing
// else is compiled. Without them g++ compiles the rows for AVX2 and for AVX-512 too, and best_machine() says which the
// processor has. Define MOEBAL_ONE_MACHINE to compile for the flags alone. Decision: docs/decisions/0009-run-time-choice.md.

#include "../core/errors.hpp"

#include <string>

// MOEBAL_AVX512, MOEBAL_AVX2: 1 where the flags give it, 2 where it may be chosen at run time. What is chosen at run time
// passes registers between functions that are compiled for different processors, which is right only where all of them
// become one function: not without optimisation, and not with clang, which refuses it.
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define MOEBAL_AVX512 1
#elif defined(__AVX2__) && defined(__FMA__)
#define MOEBAL_AVX2 1
#elif defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__OPTIMIZE__) && \
    !defined(__NO_INLINE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && \
    !defined(__CUDACC__) && !defined(MOEBAL_ONE_MACHINE)
#define MOEBAL_AVX512 2
#define MOEBAL_AVX2 2
#elif defined(__aarch64__) && defined(__ARM_NEON)
#define MOEBAL_NEON 1
#endif

// MOEBAL_COMPILED_APART marks the functions that are compiled for a machine with all that they call.
#if MOEBAL_AVX2 == 2
#define MOEBAL_COMPILED_APART [[gnu::noinline, gnu::flatten]]
#else
#define MOEBAL_COMPILED_APART
#endif

// Between BEGIN and END stands what only the machine can run: every function there is compiled for it. Not warned of: the
// undefined operand inside g++ 12's own intrinsics, and attributes of a vector type that its template argument loses.
#if defined(__clang__)
#define MOEBAL_QUIET_MACHINE
#else
#define MOEBAL_QUIET_MACHINE _Pragma("GCC diagnostic ignored \"-Wmaybe-uninitialized\"")
#endif
#define MOEBAL_BEGIN_MACHINE                                                                                            \
  _Pragma("GCC push_options") _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wignored-attributes\"") \
      _Pragma("GCC diagnostic ignored \"-Wuninitialized\"") MOEBAL_QUIET_MACHINE
#define MOEBAL_END_MACHINE _Pragma("GCC diagnostic pop") _Pragma("GCC pop_options")
#if MOEBAL_AVX512 == 2
#define MOEBAL_BEGIN_AVX512                                                                                             \
  MOEBAL_BEGIN_MACHINE                                                                                                  \
  _Pragma("GCC target(\"avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,avx2,fma,bmi,bmi2,popcnt,prfchw\")")
#define MOEBAL_BEGIN_AVX2 MOEBAL_BEGIN_MACHINE _Pragma("GCC target(\"avx2,fma,bmi,bmi2,popcnt\")")
#else
#define MOEBAL_BEGIN_AVX512 MOEBAL_BEGIN_MACHINE
#define MOEBAL_BEGIN_AVX2 MOEBAL_BEGIN_MACHINE
#endif

namespace moebal {

enum class Machine { serial, neon, avx2, avx512 };

constexpr char const* name_of(Machine m) {
  return m == Machine::serial ? "serial" : m == Machine::neon ? "neon" : m == Machine::avx2 ? "avx2" : "avx512";
}

/// What the compiler's flags give.
#if MOEBAL_AVX512 == 1
inline constexpr Machine native_machine = Machine::avx512;
#elif MOEBAL_AVX2 == 1
inline constexpr Machine native_machine = Machine::avx2;
#elif defined(MOEBAL_NEON)
inline constexpr Machine native_machine = Machine::neon;
#else
inline constexpr Machine native_machine = Machine::serial;
#endif

/// fp32 lanes that one register of the machine holds; 1 where there is no fused multiply-add to use.
constexpr int pack_width_of(Machine m) {
  return m == Machine::avx512 ? 16 : m == Machine::avx2 ? 8 : m == Machine::neon ? 4 : 1;
}
inline constexpr int pack_width = pack_width_of(native_machine);

/// Whether rows are compiled for the machine and this processor can run them.
inline bool has_machine(Machine m) {
  if (m == native_machine) return true;
#if MOEBAL_AVX2 == 2
  bool const avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                    __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
  if (m == Machine::avx2) return avx2;
  if (m == Machine::avx512) // the processors before Ice Lake, without vbmi2, take AVX2
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vbmi2");
#endif
  return false;
}

namespace detail {
inline Machine find_best_machine() {
  for (Machine m : {Machine::avx512, Machine::avx2})
    if (has_machine(m)) return m;
  return native_machine;
}
} // namespace detail

/// The fastest machine that this processor has. Asks the processor once.
inline Machine best_machine() {
#if MOEBAL_AVX2 == 2
  static Machine const best = detail::find_best_machine();
  return best;
#else
  return native_machine;
#endif
}

/// Throws std::invalid_argument where has_machine(m) is false.
inline Machine require_machine(Machine m) {
  if (has_machine(m)) return m;
  throw std::invalid_argument(std::string("moebal: rows of this program cannot run on ") + name_of(m) +
                              ": needed a machine that it was compiled for and that the processor has, such as " +
                              name_of(best_machine()));
}

} // namespace moebal
