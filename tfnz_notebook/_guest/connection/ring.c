/* A ring of bytes in a mapping of its own, made at the first byte and given back when it is of no more use. */
#include "guest.h"

bool ring_reserve(struct ring *r, uint32_t size)
{
    if (r->base)
        return true;
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return false;
    madvise(base, size, MADV_DONTFORK); /* a fork need not copy its page table entries */
    *r = (struct ring){.base = base, .size = size};
    return true;
}

/* Of one that is full: what had come round to its start goes behind its end. */
bool ring_widen(struct ring *r, uint32_t size)
{
    void *base = mremap(r->base, r->size, size, MREMAP_MAYMOVE);
    if (base == MAP_FAILED)
        return false;
    r->base = base;
    memcpy(r->base + r->size, r->base, r->at);
    r->size = size;
    return true;
}

static int pieces(struct ring *r, uint32_t from, uint32_t length, struct iovec v[2])
{
    if (!length)
        return 0;
    from %= r->size;
    uint32_t first = r->size - from < length ? r->size - from : length;
    v[0] = (struct iovec){r->base + from, first};
    if (first == length)
        return 1;
    v[1] = (struct iovec){r->base, length - first};
    return 2;
}

int ring_room(struct ring *r, struct iovec v[2])
{
    return pieces(r, r->at + r->used, r->size - r->used, v);
}

int ring_data(struct ring *r, uint32_t skip, uint32_t length, struct iovec v[2])
{
    return pieces(r, r->at + skip, length, v);
}

void ring_drop(struct ring *r, uint32_t length)
{
    r->used -= length;
    /* From the start again whenever it is empty: a quiet stream then lives in its first page. */
    r->at = r->used ? (r->at + length) % r->size : 0;
}

void ring_free(struct ring *r)
{
    if (r->base)
        munmap(r->base, r->size);
    *r = (struct ring){0};
}
