/* Writes behind a block of the heap: must end with an error where AddressSanitizer is really linked. */
#include <stdlib.h>

int main(int argc, char **argv) {
    volatile char *block = malloc(8);
    (void)argv;
    block[7 + argc] = 1;
    free((void *)block);
    return 0;
}
