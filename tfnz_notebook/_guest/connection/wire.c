/* Frames: bytes to struct frame and back. No descriptors, no state; the tables are in PROTOCOL.md and guest.py. */
#include "guest.h"

enum { HEAD = 12, FIELD_HEAD = 6 };
enum shape { UNKNOWN, EMPTY, FIELDS, FIXED, BYTES };
enum side { AGENT = 1, GUEST = 2, BOTH = 3 };

static const struct {
    uint8_t shape, size, side;
} table[256] = {
    [T_HELLO] = {FIELDS, 0, BOTH},    [T_READY] = {EMPTY, 0, GUEST},    [T_PING] = {FIXED, 8, BOTH},
    [T_PONG] = {FIXED, 8, BOTH},      [T_RESULT] = {FIXED, 16, GUEST},  [T_SPAWN] = {FIELDS, 0, AGENT},
    [T_SPAWNED] = {FIXED, 4, GUEST},  [T_FAILED] = {FIELDS, 0, GUEST},  [T_PROC] = {FIELDS, 0, GUEST},
    [T_DATA] = {BYTES, 8, BOTH},      [T_ACK] = {FIXED, 8, BOTH},       [T_EOF] = {FIXED, 8, BOTH},
    [T_EXIT] = {FIXED, 24, GUEST},    [T_END] = {FIXED, 16, GUEST},     [T_FORGET] = {EMPTY, 0, AGENT},
    [T_GONE] = {EMPTY, 0, GUEST},     [T_SIGNAL] = {FIXED, 12, AGENT},  [T_RESIZE] = {FIXED, 4, AGENT},
    [T_AWAIT] = {FIXED, 12, AGENT},   [T_WAITING] = {FIXED, 32, GUEST}, [T_CANCEL] = {FIXED, 4, AGENT},
    [T_START] = {FIXED, 4, AGENT},    [T_DIAL] = {FIELDS, 0, AGENT},    [T_CLOSE] = {FIXED, 4, BOTH},
    [T_PUT] = {FIELDS, 0, AGENT},     [T_GET] = {FIELDS, 0, AGENT},     [T_LIST] = {FIELDS, 0, AGENT},
    [T_MKDIR] = {FIELDS, 0, AGENT},   [T_STAT] = {FIELDS, 0, GUEST},    [T_SAMPLE] = {FIXED, 4, AGENT},
    [T_STATS] = {FIELDS, 0, GUEST},   [T_ARGS] = {FIELDS, 0, AGENT},
    [T_SETUP] = {FIELDS, 0, AGENT},
};

_Static_assert(TAG_LAST < 64, "TAGS_OF_INTEGERS has a bit a tag");

bool wire_has_fields(uint8_t type)
{
    return table[type].shape == FIELDS;
}

static uint16_t load16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t load32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t load64(const uint8_t *p)
{
    return load32(p) | (uint64_t)load32(p + 4) << 32;
}

static bool fields_sound(const struct frame *f)
{
    size_t at = 0;
    while (at < f->size) {
        if (f->size - at < FIELD_HEAD)
            return false;
        uint16_t tag = load16(f->payload + at);
        uint32_t size = load32(f->payload + at + 2);
        at += FIELD_HEAD;
        if (size > f->size - at)
            return false;
        /* Tags that are not in the table come from a newer agent and are skipped, whatever their size. */
        if (tag <= TAG_LAST && TAGS_OF_INTEGERS >> tag & 1 && size != 8)
            return false;
        at += size;
    }
    return true;
}

long wire_parse(uint8_t *bytes, size_t length, bool any_side, struct frame *f)
{
    if (length < HEAD)
        return 0;
    f->size = load32(bytes);
    f->type = bytes[4];
    f->stream = bytes[5];
    f->channel = load32(bytes + 8);
    f->payload = bytes + HEAD;
    uint8_t shape = table[f->type].shape;
    if (f->size > MAX_PAYLOAD || load16(bytes + 6) || shape == UNKNOWN)
        return -1;
    if (!any_side && !(table[f->type].side & AGENT))
        return -1;
    if ((shape == FIXED || shape == EMPTY) && f->size != table[f->type].size)
        return -1;
    if (shape == BYTES && (f->size < 8 || f->size > 8 + MAX_DATA))
        return -1;
    if ((f->type == T_DATA || f->type == T_ACK || f->type == T_EOF) && f->stream > S_ERR)
        return -1;
    if (length < HEAD + (size_t)f->size)
        return 0;
    if (shape == FIELDS && !fields_sound(f))
        return -1;
    return HEAD + (long)f->size;
}

bool field_next(const struct frame *f, size_t *at, struct field *field)
{
    if (*at >= f->size)
        return false;
    field->tag = load16(f->payload + *at);
    field->size = load32(f->payload + *at + 2);
    field->data = f->payload + *at + FIELD_HEAD;
    *at += FIELD_HEAD + field->size;
    return true;
}

bool field_find(const struct frame *f, uint16_t tag, struct field *field)
{
    for (size_t at = 0; field_next(f, &at, field);)
        if (field->tag == tag)
            return true;
    return false;
}

int64_t field_int(const struct frame *f, uint16_t tag, int64_t otherwise)
{
    struct field field;
    return field_find(f, tag, &field) ? (int64_t)load64(field.data) : otherwise;
}

char *field_text(const struct frame *f, uint16_t tag)
{
    struct field field;
    errno = ENOENT;
    if (!field_find(f, tag, &field))
        return NULL;
    errno = EINVAL;
    if (memchr(field.data, 0, field.size))
        return NULL;
    char *text = malloc(field.size + 1u);
    if (!text)
        return NULL;
    memcpy(text, field.data, field.size);
    text[field.size] = 0;
    return text;
}

uint32_t get32(const struct frame *f, size_t at)
{
    return load32(f->payload + at);
}

uint64_t get64(const struct frame *f, size_t at)
{
    return load64(f->payload + at);
}

/* --- encoding ---------------------------------------------------------------------------------------------------- */

/* A mapping, not malloc: children must not inherit megabytes, and it returns to the kernel whole. */
bool buffer_room(struct buffer *b, size_t more)
{
    if (b->size - b->end >= more)
        return true;
    size_t used = b->end - b->start;
    if (b->size - used < more) {
        size_t size = b->size ? b->size : 64u << 10;
        while (size - used < more)
            size *= 2;
        uint8_t *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (base == MAP_FAILED)
            return false;
        madvise(base, size, MADV_DONTFORK);
        if (b->base) {
            memcpy(base, b->base + b->start, used);
            munmap(b->base, b->size);
        }
        b->base = base;
        b->size = size;
    } else {
        memmove(b->base, b->base + b->start, used);
    }
    b->start = 0;
    b->end = used;
    return true;
}

static struct buffer *open_buffer; /* the frame that is being made begins here */
static size_t open_at;

void put_bytes(struct buffer *b, const void *bytes, size_t size)
{
    size_t before = b->start;
    if (!buffer_room(b, size)) {
        note("no memory");
        leave(1); /* a wire that lost bytes is worse than a guest that ended */
    }
    if (open_buffer == b && b->start != before)
        open_at -= before - b->start;
    if (size)
        memcpy(b->base + b->end, bytes, size);
    b->end += size;
}

void put16(struct buffer *b, uint16_t value)
{
    put_bytes(b, &value, sizeof value);
}

void put32(struct buffer *b, uint32_t value)
{
    put_bytes(b, &value, sizeof value);
}

void put64(struct buffer *b, uint64_t value)
{
    put_bytes(b, &value, sizeof value);
}

void frame_begin(struct buffer *b, uint8_t type, uint8_t stream, uint32_t channel)
{
    uint8_t head[HEAD] = {[4] = type, [5] = stream};
    memcpy(head + 8, &channel, 4);
    put_bytes(b, head, HEAD);
    open_buffer = b;
    open_at = b->end - HEAD;
}

void frame_end(struct buffer *b)
{
    uint32_t size = (uint32_t)(b->end - open_at - HEAD);
    memcpy(b->base + open_at, &size, 4);
    open_buffer = NULL;
}

void put_field(struct buffer *b, uint16_t tag, const void *bytes, size_t size)
{
    put16(b, tag);
    put32(b, (uint32_t)size);
    put_bytes(b, bytes, size);
}

void put_text(struct buffer *b, uint16_t tag, const char *text)
{
    put_field(b, tag, text, strlen(text));
}

void put_int(struct buffer *b, uint16_t tag, int64_t value)
{
    put_field(b, tag, &value, 8);
}
