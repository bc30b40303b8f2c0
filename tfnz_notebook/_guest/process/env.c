/* What execve is given: argv, the environment, the working directory; and whom it runs as. */
#include "guest.h"

enum { MAX_ENV = 16384 }; /* each is looked for among those before it */
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
extern char **environ;

struct list {
    char **item;
    size_t count;
};

static size_t key_length(const char *entry)
{
    return strcspn(entry, "=");
}

static char **env_find(const struct list *l, const char *key)
{
    size_t length = key_length(key);
    for (size_t i = 0; i < l->count; i++)
        if (!strncmp(l->item[i], key, length) && l->item[i][length] == '=')
            return &l->item[i];
    return NULL;
}

/* KEY=value sets, KEY removes. */
static void env_put(struct list *l, char *entry)
{
    char **old = env_find(l, entry);
    bool remove = !strchr(entry, '=');
    if (old && remove)
        *old = l->item[--l->count];
    else if (old)
        *old = entry;
    else if (!remove)
        l->item[l->count++] = entry;
}

static void env_set(struct list *l, const char *key, const char *value)
{
    char *entry;
    size_t size = strlen(key) + strlen(value) + 2;
    if (!(entry = malloc(size)))
        return;
    snprintf(entry, size, "%s=%s", key, value);
    env_put(l, entry);
}

static bool asked(const struct list *given, const char *key)
{
    for (size_t i = 0; i < given->count; i++)
        if (key_length(given->item[i]) == strlen(key) && !strncmp(given->item[i], key, strlen(key)))
            return true;
    return false;
}

static void env_user(struct list *env, const struct list *given, const struct user *u, bool shell)
{
    const char *pairs[][2] = {{"HOME", u->home}, {"USER", u->name}, {"LOGNAME", u->name}, {"SHELL", u->shell}};
    for (int i = 0; i < (u->known ? 3 + shell : 1); i++)
        if (!asked(given, pairs[i][0]))
            env_set(env, pairs[i][0], pairs[i][1]);
}

/* The frame's ARGs and ENVs, each ended with a NUL in place: the frame is this process's own copy, and what is
 * overwritten is the header of a field that has been read. */
static int collect(const struct frame *f, struct list *args, struct list *env)
{
    struct field field;
    size_t args_count = 0, env_count = 0;
    for (size_t at = 0; field_next(f, &at, &field);) {
        args_count += field.tag == TAG_ARG;
        env_count += field.tag == TAG_ENV;
    }
    if (env_count > MAX_ENV)
        return E2BIG;
    args->item = calloc(args_count + 1, sizeof *args->item);
    env->item = calloc(env_count + 1, sizeof *env->item);
    if (!args->item || !env->item)
        return ENOMEM;
    uint8_t *end = NULL;
    for (size_t at = 0, more = 1; more;) {
        more = field_next(f, &at, &field);
        if (end)
            *end = 0;
        end = NULL;
        if (!more || (field.tag != TAG_ARG && field.tag != TAG_ENV))
            continue;
        if (memchr(field.data, 0, field.size))
            return EINVAL;
        end = field.data + field.size;
        if (field.tag == TAG_ARG)
            args->item[args->count++] = (char *)field.data;
        else if (field.size && field.data[0] != '=')
            env->item[env->count++] = (char *)field.data;
        else
            return EINVAL;
    }
    return 0;
}

/* The user, who must be the guest's own where that may not become another. A group that nobody named is whichever it is. */
static int choose_user(const char *spec, struct user *user)
{
    int error = user_find(spec && *spec ? spec : NULL, user);
    bool group = spec && strchr(spec, ':'), own = user->uid == geteuid() && (!group || user->gid == getegid());
    return error ? error : own || guest.features & FEATURE_USERS ? 0 : EPERM;
}

/* What SETUP said: of the image, so that it is below what a process itself is given. */
static struct {
    struct frame frame;
    struct list args, env;
    char *user, *cwd;
} setup;
static struct settings before; /* as the command line has it */

int setup_take(struct frame *f)
{
    static struct user user;
    struct list args = {0}, env = {0};
    char *name = field_text(f, TAG_USER);
    int error = !name && errno != ENOENT ? errno : choose_user(name, &user);
    char *cwd = error ? NULL : field_text(f, TAG_CWD);
    if (!error && !cwd && errno != ENOENT)
        error = errno;
    if (!error)
        error = collect(f, &args, &env);
    if (error) {
        free(args.item), free(env.item), free(name), free(cwd), free(f->payload);
        return error;
    }
    if (!guest.configured)
        before = guest;
    free(setup.args.item), free(setup.env.item), free(setup.user), free(setup.cwd); /* said again, it is all anew */
    free(setup.frame.payload);
    setup.frame = *f;
    setup.args = args;
    setup.env = env;
    setup.user = name;
    setup.cwd = cwd;
    guest.argv = args.count ? args.item : before.argv;
    guest.user = name ? name : before.user;
    guest.cwd = cwd ? cwd : before.cwd;
    guest.configured = true;
    return 0;
}

int image_make(const struct spec *spec, struct image *image, enum stage *stage)
{
    static char login[PATH_MAX + 1];
    struct list args = {spec->argv, 0}, given = {0}, env = {0};
    const char *user = spec->user;
    int64_t flags = 0;
    *stage = ST_ENV;
    image->cwd = spec->cwd;
    if (spec->frame) {
        flags = field_int(spec->frame, TAG_FLAGS, 0);
        user = field_text(spec->frame, TAG_USER);
        if (!user && errno != ENOENT)
            return errno;
        image->cwd = field_text(spec->frame, TAG_CWD);
        if (!image->cwd && errno != ENOENT)
            return errno;
        /* As an engine's exec: the container's user and directory, unless others are asked for. */
        if (!user)
            user = guest.user;
        if (!image->cwd && guest.cwd && !(flags & FLAG_ADOPT)) {
            image->cwd = guest.cwd;
            image->cwd_optional = true;
        }
        int error = collect(spec->frame, &args, &given);
        if (error)
            return error;
    }
    *stage = ST_USER;
    int error = choose_user(user, &image->user);
    if (error)
        return error;
    image->change_user = user && *user && guest.features & FEATURE_USERS;
    *stage = ST_ENV;
    size_t own = 0;
    while (environ[own])
        own++;
    env.item = calloc(own + setup.env.count + given.count + 8, sizeof *env.item);
    if (!env.item)
        return ENOMEM;
    for (size_t i = 0; i < own; i++)
        env_put(&env, environ[i]);
    for (size_t i = 0; i < setup.env.count; i++)
        env_put(&env, setup.env.item[i]);
    for (size_t i = 0; i < given.count; i++)
        env_put(&env, given.item[i]);
    bool adopt = flags & FLAG_ADOPT;
    if ((user && *user) || adopt)
        env_user(&env, &given, &image->user, true);
    else if (!env_find(&env, "HOME") && !asked(&given, "HOME"))
        env_set(&env, "HOME", image->user.home);
    if (spec->tty && !asked(&given, "TERM"))
        env_set(&env, "TERM", "xterm-256color");
    env.item[env.count] = NULL;
    if (adopt && (!image->cwd || !*image->cwd)) {
        image->cwd = image->user.home;
        image->cwd_optional = true;
    }
    if (image->cwd && !*image->cwd)
        image->cwd = NULL;
    *stage = ST_EXEC;
    image->argv = args.item;
    if (!image->argv || !image->argv[0]) { /* a login shell, as login(1) would start it */
        static char *words[2] = {login, NULL};
        if (!adopt)
            return EINVAL;
        if (access(image->user.shell, X_OK) < 0)
            strcpy(image->user.shell, "/bin/sh");
        const char *slash = strrchr(image->user.shell, '/');
        snprintf(login, sizeof login, "-%s", slash ? slash + 1 : image->user.shell);
        image->argv = words;
        image->file = image->user.shell;
    } else {
        image->file = image->argv[0];
    }
    char **path = env_find(&env, "PATH");
    image->path = path ? *path + 5 : DEFAULT_PATH;
    image->env = env.item;
    return 0;
}
