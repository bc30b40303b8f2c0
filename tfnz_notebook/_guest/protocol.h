/* Made from tfnz_notebook/_wire/guest.py by `python -m tfnz_notebook._wire.header`. */
#ifndef TFNZ_PROTOCOL_H
#define TFNZ_PROTOCOL_H

#define VERSION 1
#define VERSION_MIN 1
#define MAX_PAYLOAD 1048576
#define MAX_DATA 262124
#define WINDOW_OUT 1048576
#define WINDOW_TTY 65536
#define WINDOW_IN 262144
#define WINDOW_WIDE 4194304
#define MAX_CHANNELS 16384
#define MAX_META 4096
#define MAX_ARGUMENTS 6291456
#define MAIN 1

enum type_e {
    T_HELLO = 1,
    T_READY = 2,
    T_PING = 3,
    T_PONG = 4,
    T_RESULT = 5,
    T_SPAWN = 16,
    T_SPAWNED = 17,
    T_FAILED = 18,
    T_PROC = 19,
    T_DATA = 20,
    T_ACK = 21,
    T_EOF = 22,
    T_EXIT = 23,
    T_END = 24,
    T_FORGET = 25,
    T_GONE = 26,
    T_SIGNAL = 27,
    T_RESIZE = 28,
    T_AWAIT = 29,
    T_WAITING = 30,
    T_CANCEL = 31,
    T_START = 32,
    T_ARGS = 33,
    T_SETUP = 34,
    T_DIAL = 48,
    T_CLOSE = 49,
    T_PUT = 64,
    T_GET = 65,
    T_LIST = 66,
    T_MKDIR = 67,
    T_STAT = 68,
    T_SAMPLE = 80,
    T_STATS = 81,
};

enum stream_e {
    S_IN = 0,
    S_OUT = 1,
    S_ERR = 2,
};

enum target_e {
    TARGET_LEADER = 0,
    TARGET_GROUP = 1,
    TARGET_TREE = 2,
};

enum reason_e {
    REASON_INPUT = 0,
    REASON_ENDED = 1,
    REASON_CANCELLED = 2,
};

enum tag_e {
    TAG_VERSION = 1,
    TAG_VERSION_MIN = 2,
    TAG_BOOT = 3,
    TAG_PID = 4,
    TAG_UID = 5,
    TAG_NAME = 6,
    TAG_ARG = 7,
    TAG_ENV = 8,
    TAG_CWD = 9,
    TAG_USER = 10,
    TAG_FLAGS = 11,
    TAG_ROWS = 12,
    TAG_COLUMNS = 13,
    TAG_META = 14,
    TAG_ERRNO = 15,
    TAG_STAGE = 16,
    TAG_TEXT = 17,
    TAG_STATUS = 18,
    TAG_IN_OFFSET = 19,
    TAG_OUT_BASE = 20,
    TAG_OUT_HEAD = 21,
    TAG_ERR_BASE = 22,
    TAG_ERR_HEAD = 23,
    TAG_OUT_EOF = 24,
    TAG_ERR_EOF = 25,
    TAG_OUT_ELIDED = 26,
    TAG_HOST = 27,
    TAG_PORT = 28,
    TAG_PATH = 29,
    TAG_MODE = 30,
    TAG_GID = 31,
    TAG_SIZE = 32,
    TAG_MTIME = 33,
    TAG_KIND = 34,
    TAG_LINK = 35,
    TAG_CLOCK = 36,
    TAG_CPU = 37,
    TAG_MEMORY = 38,
    TAG_MEMORY_LIMIT = 39,
    TAG_PIDS = 40,
    TAG_READ = 41,
    TAG_WRITTEN = 42,
    TAG_RECEIVED = 43,
    TAG_SENT = 44,
    TAG_REQUEST = 45,
    TAG_STARTED = 46,
    TAG_IN_EOF = 47,
    TAG_OOM = 49,
    TAG_SLEEPING = 50,
    TAG_AGE = 51,
    TAG_ARGUMENTS = 52,
    TAG_FEATURES = 53,
    TAG_CONFIGURED = 54,
    TAG_ORPHAN = 55,
    TAG_PIPE = 56,
    TAG_LAST = 56,
};

/* Bit n: tag n is known, and its value is an integer. */
#define TAGS_OF_INTEGERS 0xfefff7d7fcb836ull

enum flag_e {
    FLAG_TTY = 1,
    FLAG_PARENTS = 2,
    FLAG_CORE = 4,
    FLAG_OOM = 8,
    FLAG_ADOPT = 16,
    FLAG_EXIST_OK = 32,
    FLAG_WIDE = 128,
};

enum feature_e {
    FEATURE_SETUP = 1,
    FEATURE_USERS = 2,
    FEATURE_OWNERS = 4,
    FEATURE_PIPES = 16,
    FEATURE_WIDE = 32,
};

#endif
