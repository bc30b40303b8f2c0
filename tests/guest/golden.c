/* The guest's codec alone, for tests/guest/test_golden.py. Each line of hex on stdin is one frame; answered by
 * "bad", "short", or its parts and, made again from those parts with the guest's encoder, its bytes:
 *   type channel stream [tag=integer | tag:hex]... | offset,hex | hex  -> hex
 */
#include "guest.h"

void note(const char *format, ...)
{
    (void)format;
}

_Noreturn void leave(int code)
{
    _exit(code);
}

static void hex(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        printf("%02x", bytes[i]);
}

static void answer(struct frame *f)
{
    struct buffer b = {0};
    struct field field;
    frame_begin(&b, f->type, f->stream, f->channel);
    printf("%u %u %u", f->type, f->channel, f->stream);
    if (f->type == T_DATA) {
        printf(" %llu,", (unsigned long long)get64(f, 0));
        hex(f->payload + 8, f->size - 8);
        put64(&b, get64(f, 0));
        put_bytes(&b, f->payload + 8, f->size - 8);
    } else if (wire_has_fields(f->type)) {
        for (size_t at = 0; field_next(f, &at, &field);) {
            if (field.tag <= TAG_LAST && TAGS_OF_INTEGERS >> field.tag & 1) {
                int64_t value;
                memcpy(&value, field.data, 8);
                printf(" %u=%lld", field.tag, (long long)value);
                put_int(&b, field.tag, value);
            } else {
                printf(" %u:", field.tag);
                hex(field.data, field.size);
                put_field(&b, field.tag, field.data, field.size);
            }
        }
    } else {
        printf(" ");
        hex(f->payload, f->size);
        put_bytes(&b, f->payload, f->size);
    }
    frame_end(&b);
    printf(" -> ");
    hex(b.base + b.start, b.end - b.start);
    printf("\n");
    munmap(b.base, b.size);
}

int main(void)
{
    static char line[2 * (MAX_PAYLOAD + 64)];
    while (fgets(line, sizeof line, stdin)) {
        size_t size = strcspn(line, "\n") / 2;
        uint8_t *bytes = malloc(size + 1); /* its own allocation: a sanitizer sees what is read beyond it */
        struct frame f;
        for (size_t i = 0; bytes && i < size; i++)
            sscanf(line + 2 * i, "%2hhx", &bytes[i]);
        long n = bytes ? wire_parse(bytes, size, true, &f) : -1;
        if (n == (long)size && n)
            answer(&f);
        else
            puts(n < 0 ? "bad" : "short");
        free(bytes);
    }
    return 0;
}
