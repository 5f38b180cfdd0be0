/* The words of commands for operators. */
#include "internal.h"

recoil_bytes *recoil_words_of(const char *text, size_t *count) {
    recoil_bytes *words = NULL;
    *count = 0;
    for (text += strspn(text, " "); *text != 0; text += strspn(text, " ")) {
        size_t size = strcspn(text, " ");
        words = recoil_one_more(words, *count, sizeof *words);
        words[(*count)++] = recoil_to_utf8(recoil_slice(text, size));
        text += size;
    }
    return words;
}
