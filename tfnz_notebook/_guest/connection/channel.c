/* The table of channels: everything that has a number on the wire. */
#include "guest.h"

enum { BUCKETS = 4096 };
static struct channel *buckets[BUCKETS], **newest = &channels, *dead;
static int count;
struct channel *channels;

struct channel *channel_find(uint32_t id)
{
    struct channel *c = buckets[id % BUCKETS];
    while (c && c->id != id)
        c = c->hash_next;
    return c;
}

void *channel_new(uint32_t id, enum kind kind, size_t size)
{
    errno = EMFILE;
    if (count >= MAX_CHANNELS)
        return NULL;
    struct channel *c = calloc(1, size);
    if (!c)
        return NULL;
    c->id = id;
    c->kind = kind;
    c->in.source.fd = c->out.source.fd = -1;
    c->in.channel = c->out.channel = c;
    c->in.eof_at = UINT64_MAX;
    c->hash_next = buckets[id % BUCKETS];
    buckets[id % BUCKETS] = c;
    c->prev = newest;
    *newest = c;
    newest = &c->next;
    count++;
    return c;
}

/* The memory stays until the turn is over: epoll may have reported one of its sources in this very turn. */
void channel_drop(struct channel *c)
{
    if (c->dead)
        return;
    c->dead = true;
    count--;
    struct channel **at = &buckets[c->id % BUCKETS];
    while (*at != c)
        at = &(*at)->hash_next;
    *at = c->hash_next;
    *c->prev = c->next;
    if (c->next)
        c->next->prev = c->prev;
    else
        newest = c->prev;
    in_close(&c->in);
    out_close(&c->out);
    if (c->kind == K_PROCESS)
        process_free((struct process *)c);
    else if (c->kind == K_DIAL)
        source_close(&((struct dial *)c)->pipe);
    else
        file_free(c);
    c->hash_next = dead;
    dead = c;
}

void channel_gone(struct channel *c)
{
    if (c->dead)
        return;
    say(T_GONE, c->id);
    channel_drop(c);
}

void channel_advance(struct channel *c)
{
    if (c->dead)
        return;
    if (c->kind == K_PROCESS)
        process_advance((struct process *)c);
    else if (c->kind == K_DIAL)
        dial_advance(c);
    else
        file_advance(c);
}

void channels_sweep(void)
{
    while (dead) {
        struct channel *c = dead;
        dead = c->hash_next;
        free(c);
    }
}

/* Processes stay; what belonged to the agent's connection does not. */
void channels_disconnected(void)
{
    for (struct channel *c = channels, *next; c; c = next) {
        next = c->next;
        if (c->kind == K_PROCESS)
            process_disconnected((struct process *)c);
        else
            channel_drop(c);
    }
}
