// stb_image (JPEG and BMP only), private to segnet: its functions are static, in a namespace of their own, and the macros that steer
// it are put back, so that a program may use stb_image for itself as well. Only its implementation must then be in another file.
#pragma once

#if defined(STBI_ASSERT)
#error "STB_IMAGE_IMPLEMENTATION and segnet/io/image.hpp in one file: let another .cpp file hold the implementation of stb_image"
#endif

// What it includes, first and outside of the namespace.
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif
#if defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "segnet/core/error.hpp"

#pragma push_macro("STBI_INCLUDE_STB_IMAGE_H")
#pragma push_macro("STB_IMAGE_IMPLEMENTATION")
#pragma push_macro("STB_IMAGE_STATIC")
#pragma push_macro("STBIDEF")
#undef STBI_INCLUDE_STB_IMAGE_H
#undef STB_IMAGE_IMPLEMENTATION
#undef STB_IMAGE_STATIC
#undef STBIDEF
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_ASSERT(x) ((x) ? void() : throw ::segnet::Error("assertion in stb_image"))  // a file must not end the program
#define STBI_MALLOC(n) calloc(1, n)  // zeros, so that what a damaged file leaves out is the same every time
#define STBI_REALLOC(p, n) realloc(p, n)
#define STBI_FREE(p) free(p)

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-function"
namespace segnet_stb {  // not in segnet, whose abs() would hide the one that is meant
#include <stb/stb_image.h>
}
#pragma GCC diagnostic pop

#undef STBI_ONLY_JPEG
#undef STBI_ONLY_BMP
#undef STBI_NO_STDIO
#undef STBI_NO_LINEAR
#undef STBI_NO_PNG
#undef STBI_NO_PSD
#undef STBI_NO_TGA
#undef STBI_NO_GIF
#undef STBI_NO_HDR
#undef STBI_NO_PIC
#undef STBI_NO_PNM
#undef STBI_NO_ZLIB
#undef STBI_ASSERT
#undef STBI_MALLOC
#undef STBI_REALLOC
#undef STBI_REALLOC_SIZED
#undef STBI_FREE
#undef stbi__err
#pragma pop_macro("STBI_INCLUDE_STB_IMAGE_H")
#pragma pop_macro("STB_IMAGE_IMPLEMENTATION")
#pragma pop_macro("STB_IMAGE_STATIC")
#pragma pop_macro("STBIDEF")
