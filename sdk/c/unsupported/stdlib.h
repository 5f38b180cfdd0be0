/* What a package cannot do with the functions that are there. */
#pragma once
#include_next <stdlib.h>

int system(const char *command) __attribute__((unavailable("processes are not supported")));
