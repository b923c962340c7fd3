/* Says what this installation of libfluid needs and has, and what to do about what is missing.
 *
 *     doctor [OPTIONS]     such as '{"model_dir": "models"}'; '{"openvino": false}' leaves OpenVINO alone
 *
 * Ends with 0 where nothing is broken, else with 1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fluid.h"

/* Prints the JSON string that begins behind `start`. Of the doctor's text only line breaks, quotes and
 * backslashes are escaped. */
static void print_string(const char *start) {
    for (const char *c = start; *c != '"' && *c != '\0'; c++) {
        if (*c == '\\' && *++c == 'n') {
            putchar('\n');
        } else {
            putchar(*c);
        }
    }
}

int main(int argc, char **argv) {
    static const char OK[] = "{\"ok\":true,", TEXT[] = "\"text\":\"";
    char *json = NULL;
    fluid_status status = fluid_doctor(NULL, argc > 1 ? argv[1] : NULL, &json);
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", fluid_status_name(status), fluid_last_error());
        return EXIT_FAILURE;
    }
    const char *text = strstr(json, TEXT); /* inside of strings its quotes would be escaped */
    if (text != NULL) {
        print_string(text + strlen(TEXT));
    }
    int code = strncmp(json, OK, strlen(OK)) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    fluid_string_free(json);
    return code;
}
