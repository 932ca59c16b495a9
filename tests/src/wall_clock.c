/* Loaded before a program: its wall clock is as many seconds ahead as the file says that WALL_CLOCK_AHEAD names, from one
   call to the next. Its monotonic clock is the machine's, and so is how long it waits until a time of the wall clock. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static time_t ahead(void) {
    const char *name = getenv("WALL_CLOCK_AHEAD");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    char text[32] = {0};
    if (file < 0) return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    return length > 0 ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*machine)(clockid_t, struct timespec *);
    if (!machine) machine = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = machine(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += ahead();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec time;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &time)) return -1;
    now->tv_sec = time.tv_sec;
    now->tv_usec = time.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    if (now) *now = time.tv_sec;
    return time.tv_sec;
}

int timespec_get(struct timespec *now, int base) {
    return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, now) ? base : 0;
}

/* A time of this clock, by the machine's. */
static struct timespec of_machine(const struct timespec *deadline) {
    struct timespec until = *deadline;
    until.tv_sec -= ahead();
    return until;
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict deadline) {
    static int (*machine)(cnd_t *, mtx_t *, const struct timespec *);
    if (!machine) machine = dlsym(RTLD_NEXT, "cnd_timedwait");
    struct timespec until = of_machine(deadline);
    return machine(condition, mutex, &until);
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict deadline) {
    static int (*machine)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    /* x86-64 keeps an older one of this name */
    if (!machine) machine = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (!machine) machine = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    struct timespec until = of_machine(deadline);
    return machine(condition, mutex, &until);
}
