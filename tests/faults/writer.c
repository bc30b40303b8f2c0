/* Writes lines that can be checked: each has its number, each block of them a checksum.
 *
 *   writer seed=7 [lines=1024] [blocks=N] [seconds=S] [rate=BYTES] [fd=1] [code=0]
 *
 * A line is 64 bytes: "seed number filler". The last line of a block is "seed number crc more", with the CRC-32 of
 * the block up to it; in the last block there is "last" instead of "more". It ends after `blocks` or `seconds` or on
 * TERM, whichever comes first, always with a whole block, and exits with `code`. tests/faults/check.py reads this.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 64, NUMBER = 9, MARK = 26 };

static uint32_t table[8][256];
static volatile sig_atomic_t told;

static void terminate(int number) {
	(void)number;
	told = 1;
}

static void make_table(void) {
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t crc = i;
		for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? 0xEDB88320u : 0);
		table[0][i] = crc;
	}
	for (int i = 0; i < 256; i++)
		for (int k = 1; k < 8; k++) table[k][i] = (table[k - 1][i] >> 8) ^ table[0][table[k - 1][i] & 255];
}

static uint32_t crc32(const unsigned char *p, size_t size) { /* size is a multiple of 8 */
	uint32_t crc = 0xFFFFFFFFu;
	for (; size; size -= 8, p += 8) {
		uint32_t low, high;
		memcpy(&low, p, 4);
		memcpy(&high, p + 4, 4);
		low ^= crc;
		crc = table[7][low & 255] ^ table[6][low >> 8 & 255] ^ table[5][low >> 16 & 255] ^ table[4][low >> 24] ^
		      table[3][high & 255] ^ table[2][high >> 8 & 255] ^ table[1][high >> 16 & 255] ^ table[0][high >> 24];
	}
	return ~crc;
}

static void hex(char *to, uint64_t value, int digits) {
	while (digits--) {
		to[digits] = "0123456789abcdef"[value & 15];
		value >>= 4;
	}
}

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void put(int fd, const char *from, size_t size) {
	while (size) {
		ssize_t wrote = write(fd, from, size);
		if (wrote < 0 && errno == EINTR) continue;
		if (wrote < 0) _exit(99);
		from += wrote;
		size -= (size_t)wrote;
	}
}

static double option(int argc, char **argv, const char *name, double otherwise) {
	size_t length = strlen(name);
	for (int i = 1; i < argc; i++)
		if (!strncmp(argv[i], name, length) && argv[i][length] == '=') return atof(argv[i] + length + 1);
	return otherwise;
}

int main(int argc, char **argv) {
	uint32_t seed = (uint32_t)option(argc, argv, "seed", 0);
	size_t lines = (size_t)option(argc, argv, "lines", 1024);
	uint64_t blocks = (uint64_t)option(argc, argv, "blocks", 0), block = 0;
	double seconds = option(argc, argv, "seconds", 0), rate = option(argc, argv, "rate", 0);
	int fd = (int)option(argc, argv, "fd", 1);
	size_t size = lines * LINE;
	char *buffer = malloc(size);
	double began = now();
	if (!buffer) return 98;
	make_table();
	signal(SIGTERM, terminate);
	memset(buffer, '.', size);
	for (size_t i = 0; i < lines; i++) {
		hex(buffer + i * LINE, seed, 8);
		buffer[i * LINE + 8] = buffer[i * LINE + 25] = ' ';
		buffer[i * LINE + LINE - 1] = '\n';
	}
	for (int last = 0; !last; block++) {
		for (size_t i = 0; i < lines; i++) hex(buffer + i * LINE + NUMBER, block * lines + i, 16);
		last = told || (blocks && block + 1 >= blocks) || (seconds > 0 && now() - began >= seconds);
		char *mark = buffer + size - LINE + MARK;
		hex(mark, crc32((unsigned char *)buffer, size - LINE), 8);
		memcpy(mark + 8, last ? " last" : " more", 5);
		put(fd, buffer, size);
		if (rate > 0 && !last) {
			double wait = began + (double)((block + 1) * size) / rate - now();
			if (wait > 0) {
				struct timespec t = {(time_t)wait, (long)((wait - (double)(time_t)wait) * 1e9)};
				nanosleep(&t, NULL);
			}
		}
	}
	return (int)option(argc, argv, "code", 0);
}
