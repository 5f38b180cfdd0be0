/* Lists, answers, and the commands that are split among the other files. */
#ifndef PROTOCOL_H
#define PROTOCOL_H

#include <recoil.h>

/* The items of a list. */
typedef struct items {
    recoil_bytes *items;
    size_t count;
} items;

/* False if the bytes are no list. */
bool parse_list(recoil_bytes bytes, items *parsed);

/* One more item of a list. */
void add(recoil_buffer *list, recoil_bytes item);
void add_number(recoil_buffer *list, uint64_t number);
void add_truth(recoil_buffer *list, bool truth);
void add_option(recoil_buffer *list, recoil_optional option);
/* An answer for each, as one item. */
void add_answers(recoil_buffer *list, const recoil_answer *answers, size_t count);

/* A whole answer: the list, or the error. */
recoil_bytes answer_of(recoil_status status, recoil_bytes list);
/* The kind of an error; what the package itself says is that something was invalid. */
const char *kind_of(recoil_status status);

/* Arguments of a wrong form fail with what is wrong. */
recoil_status number_at(items arguments, size_t at, uint64_t *number);
recoil_status small_at(items arguments, size_t at, uint32_t *number);
recoil_status truth_at(items arguments, size_t at, bool *truth);
recoil_status option_at(items arguments, size_t at, recoil_optional *option);
recoil_status mode_at(items arguments, size_t at, recoil_mode *mode);

/* A command: its name, how many arguments it needs, and what it does with them. The list begins empty. */
typedef struct command {
    const char *name;
    size_t arguments;
    recoil_status (*run)(items arguments, recoil_buffer *list);
} command;

/* Runs a command of the list that has it; fails with RECOIL_ERROR if none has. */
recoil_status run(items request, const command *const *tables, recoil_buffer *list);

/* Tables, each ended by a command without a name. */
extern const command anywhere[];
extern const command in_handler[];
extern const command in_listener[];

#endif
