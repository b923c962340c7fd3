// What the compiler and the standard library at hand can do.
#ifndef FLUID_CONFIG_HPP
#define FLUID_CONFIG_HPP

#if __cplusplus < 201703L && (!defined(_MSVC_LANG) || _MSVC_LANG < 201703L)
#error "fluid.hpp needs C++17: compile with -std=c++17 or /std:c++17, or a later one"
#endif

#if __has_include(<version>)
#include <version>
#endif
#ifdef __cpp_lib_jthread
#include <stop_token>
#endif

#include "fluid.h"

// Define FLUID_NO_EXCEPTIONS to have the forms that return fluid::result alone; the compiler's switch
// (-fno-exceptions) does the same.
#if !defined(FLUID_NO_EXCEPTIONS) && !defined(__cpp_exceptions) && !defined(_CPPUNWIND)
#define FLUID_NO_EXCEPTIONS 1
#endif

// Translation units with and without exceptions may be linked into one program: what they inline has other
// names. The standard's version changes no name and no layout, so those may be mixed too, and objects
// handed over.
#ifdef FLUID_NO_EXCEPTIONS
#define FLUID_CPP_NAMESPACE v1_nothrow
#else
#define FLUID_CPP_NAMESPACE v1
#endif

namespace fluid {
inline namespace FLUID_CPP_NAMESPACE {

// Cancels a blocking call from another thread: std::stop_token from C++20 on, where the standard library has it;
// else a type without use, so that calls compile.
#ifdef __cpp_lib_jthread
using stop_token = std::stop_token;
#else
struct stop_token {};
#endif

} // namespace FLUID_CPP_NAMESPACE
} // namespace fluid

#endif // FLUID_CONFIG_HPP
