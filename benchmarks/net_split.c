/* net_split.c - tells how much of a thread's CPU time is user's and kernel's.
 *
 *   net_split TID
 *
 * The kernel's own account of the two is what its clock's ticks met in all of
 * a process's life, its beginning included, scaled to the exact sum: what that
 * grows by in a second can be far off.  This looks, each millisecond of CPU
 * time, what the thread is doing.
 *
 * "ready" is said on stdout, or in words why it cannot be done, and then for
 * each line on stdin what was seen so far: {"user": ns, "system": ns}.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    PERIOD_NS = 997 * 1000, /* not a part of that of the kernel's ticks */
    RING_PAGES = 256,       /* a power of two: two minutes of CPU time */
};

struct seen {
    long long user, system; /* samples */
};

static int
open_event(int tid)
{
    struct perf_event_attr attr = {
        .type = PERF_TYPE_SOFTWARE,
        .size = sizeof(attr),
        .config = PERF_COUNT_SW_CPU_CLOCK,
        .sample_period = PERIOD_NS,
    };
    return (int)syscall(SYS_perf_event_open, &attr, tid, -1, -1,
                        PERF_FLAG_FD_CLOEXEC);
}

static void
count(struct seen *seen, const struct perf_event_header *record)
{
    if (record->type != PERF_RECORD_SAMPLE) {
        return;
    }
    switch (record->misc & PERF_RECORD_MISC_CPUMODE_MASK) {
    case PERF_RECORD_MISC_USER:
        seen->user++;
        break;
    case PERF_RECORD_MISC_KERNEL:
        seen->system++;
        break;
    }
}

/* Records have no body but their head, for nothing else was asked for, except
 * for the rare ones of other types; none begins across the ring's end. */
static void
drain(struct perf_event_mmap_page *page, const char *ring, size_t size,
      struct seen *seen)
{
    uint64_t head = __atomic_load_n(&page->data_head, __ATOMIC_ACQUIRE);
    uint64_t tail = page->data_tail;
    while (tail < head) {
        const struct perf_event_header *record =
            (const void *)(ring + tail % size);
        count(seen, record);
        tail += record->size;
    }
    __atomic_store_n(&page->data_tail, tail, __ATOMIC_RELEASE);
}

int
main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: net_split TID\n", stderr);
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    size_t page_size = (size_t)sysconf(_SC_PAGESIZE);
    size_t size = RING_PAGES * page_size;
    int fd = open_event(atoi(argv[1]));
    char *map = fd < 0 ? MAP_FAILED
                       : mmap(NULL, page_size + size, PROT_READ | PROT_WRITE,
                              MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        printf("\"%s\"\n", strerror(errno));
        return 0;
    }
    puts("\"ready\"");
    fflush(stdout);
    struct seen seen = {0};
    char line[32];
    while (fgets(line, sizeof(line), stdin)) {
        drain((void *)map, map + page_size, size, &seen);
        printf("{\"user\": %lld, \"system\": %lld}\n", seen.user * PERIOD_NS,
               seen.system * PERIOD_NS);
        fflush(stdout);
    }
    return 0;
}
