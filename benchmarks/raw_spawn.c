/* raw_spawn COUNT WORKERS: the reference of all benchmarks.
 *
 * WORKERS processes each start bare /bin/true with posix_spawn and wait for it, one after another,
 * COUNT times in all. No directory, no files, no environment of their own. Prints processes/s. */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void spawn_and_wait(long count) {
    char *words[] = {"/bin/true", NULL};
    while (count-- > 0) {
        pid_t child;
        int status;
        if (posix_spawn(&child, words[0], NULL, NULL, words, environ) != 0) _exit(2);
        if (waitpid(child, &status, 0) != child || status != 0) _exit(3);
    }
    _exit(0);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: raw_spawn COUNT WORKERS\n");
        return 1;
    }
    long count = atol(argv[1]), workers = atol(argv[2]);
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (long number = 0; number < workers; number++) {
        if (fork() == 0) spawn_and_wait(count / workers + (number < count % workers));
    }
    int failed = 0, status;
    for (long number = 0; number < workers; number++) {
        wait(&status);
        failed |= status != 0;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = (end.tv_sec - begin.tv_sec) + (end.tv_nsec - begin.tv_nsec) / 1e9;
    printf("%.1f\n", count / seconds);
    return failed;
}
