/* Texts as by printf: apart, because printf brings WASI's files with it, and a package that does not print has none. */
#include <stdarg.h>
#include <stdio.h>

#include "internal.h"

static recoil_bytes format_list(const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (size < 0) recoil_trap("a format that cannot be printed");
    char *text = recoil_alloc((size_t)size + 1);
    vsnprintf(text, (size_t)size + 1, format, arguments);
    return recoil_slice(text, (size_t)size);
}

recoil_bytes recoil_format(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    recoil_bytes text = format_list(format, arguments);
    va_end(arguments);
    return text;
}

recoil_status recoil_fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    recoil_status status = {RECOIL_ERROR, format_list(format, arguments)};
    va_end(arguments);
    return status;
}
