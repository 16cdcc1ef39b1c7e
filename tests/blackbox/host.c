/* Preloaded into a Weir under test: names, connections and the wall clock as a test wants them.
 *
 * WEIR_TEST_NAMES: a file of lines "name address..." or "name !nxdomain|!servfail|!empty|!hang", read at
 * each lookup; other names do not exist. WEIR_TEST_CLOCK: a file of eight bytes, the seconds added to the
 * wall clock. Nothing but loopback is ever connected to: everything else refuses.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset;

static int fault(const char *word) {
    if (!strcmp(word, "!servfail")) return EAI_AGAIN;
    if (!strcmp(word, "!empty")) return EAI_NODATA;
    if (!strcmp(word, "!hang")) sleep(20);
    return EAI_NONAME;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        dlsym(RTLD_NEXT, "getaddrinfo");
    struct in6_addr number;
    const char *path = getenv("WEIR_TEST_NAMES");
    if (!path || !name || inet_pton(AF_INET, name, &number) == 1 || inet_pton(AF_INET6, name, &number) == 1)
        return real(name, service, hints, out);
    FILE *file = fopen(path, "re");
    char line[4096];
    int result = EAI_NONAME;
    *out = NULL;
    while (file && fgets(line, sizeof line, file)) {
        char *rest, *word = strtok_r(line, " \n", &rest);
        if (!word || strcmp(word, name)) continue;
        while ((word = strtok_r(NULL, " \n", &rest))) {
            struct addrinfo *one = NULL;
            result = word[0] == '!' ? fault(word) : real(word, service, hints, &one);
            if (result) break;
            struct addrinfo *last = one;
            while (last->ai_next) last = last->ai_next;
            last->ai_next = *out;
            *out = one;
        }
        break;
    }
    if (file) fclose(file);
    return result;
}

int connect(int fd, const struct sockaddr *to, socklen_t length) {
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    const struct sockaddr_in *v4 = (const void *)to;
    const struct sockaddr_in6 *v6 = (const void *)to;
    if ((to->sa_family == AF_INET && ntohl(v4->sin_addr.s_addr) >> 24 != 127) ||
        (to->sa_family == AF_INET6 && !IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr))) {
        errno = ECONNREFUSED;
        return -1;
    }
    return real(fd, to, length);
}

__attribute__((constructor)) static void map_clock(void) {
    const char *path = getenv("WEIR_TEST_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *map = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
    if (map != MAP_FAILED) offset = map;
    close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (!result && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *offset;
    return result;
}
