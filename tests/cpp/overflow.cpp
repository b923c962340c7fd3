// Reads behind the end of what it allocated: AddressSanitizer, if it is really there, ends it with an error.

#include <vector>

int main(int argc, char **) {
    const std::vector<int> numbers(4);
    const int *const behind = numbers.data() + 4 * argc;
    const volatile int read = *behind;
    return read & 0;
}
