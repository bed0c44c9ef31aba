// A team of threads that work on one loop, and the place where they wait for each other.
//
// The program may lend its own threads, those of OpenMP. Otherwise threads are made once and sleep
// between calls; one call at a time has them, and another that comes meanwhile, from another
// thread of the program, runs alone. After a fork the child makes its own, and leaves alone what
// its parent was lent: the threads of OpenMP do not live on in a child.

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>

struct Meeting {
    int64_t arrived, round;
};

struct Team {
    int64_t size;
    Meeting *at;

    INLINE void pause() {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ __volatile__("yield");
#endif
    }
    // Wait until all members are here.
    void meet() {
        if (size == 1)
            return;
        int64_t here = __atomic_load_n(&at->round, __ATOMIC_RELAXED);
        if (__atomic_add_fetch(&at->arrived, 1, __ATOMIC_ACQ_REL) == size) {
            __atomic_store_n(&at->arrived, 0, __ATOMIC_RELAXED);
            __atomic_store_n(&at->round, here + 1, __ATOMIC_RELEASE);
            return;
        }
        for (int64_t spins = 0; __atomic_load_n(&at->round, __ATOMIC_ACQUIRE) == here; spins++)
            if (spins < 4096)
                pause();
            else
                sched_yield();
    }
};

typedef void (*Work)(void *given, int64_t member, Team &team);

struct Crew {
    pthread_mutex_t busy, lock;
    pthread_cond_t start, done;
    int64_t threads, wanted, finished, job;
    Work work;
    void *given;
    Team *team;
};

// How OpenMP runs a function by a number of threads, and how many and which these are.
typedef void (*Run)(void (*function)(void *), void *given, unsigned threads, unsigned flags);
typedef int (*Number)(void);
struct Lent {
    Run run;
    Number count, number;
};
static Lent lent = {0, 0, 0};

static Crew crew = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER,
                    PTHREAD_COND_INITIALIZER,  PTHREAD_COND_INITIALIZER,
                    0, 0, 0, 0, 0, 0, 0};
static pthread_once_t crew_known = PTHREAD_ONCE_INIT;

static void crew_after_fork() {
    crew.busy = crew.lock = PTHREAD_MUTEX_INITIALIZER;
    crew.start = crew.done = PTHREAD_COND_INITIALIZER;
    crew.threads = crew.wanted = 0;
    lent.run = 0;
}
static void crew_begin() { pthread_atfork(0, 0, crew_after_fork); }

EXPORT void lend(void *run, void *count, void *number) {
    pthread_once(&crew_known, crew_begin);
    pthread_mutex_lock(&crew.lock);
    if (!lent.run) {
        lent.count = (Number)count;
        lent.number = (Number)number;
        __atomic_store_n(&lent.run, (Run)run, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&crew.lock);
}

struct Borrowed {
    Work work;
    void *given;
    Meeting *at;
};

// What each of the threads that are lent does.
static void borrowed_work(void *all) {
    Borrowed &job = *(Borrowed *)all;
    Team team = {lent.count(), job.at};
    job.work(job.given, lent.number(), team);
}

// A member works where there is a job that it has not seen and that wants it. No job begins
// before all members of the one before have finished, so none that is wanted can miss it; one that
// is not wanted may sleep through several.
static void *crew_member(void *number) {
    int64_t member = (int64_t)(intptr_t)number, seen = 0;
    pthread_mutex_lock(&crew.lock);
    for (;;) {
        while (crew.job == seen || member >= crew.wanted) {
            seen = crew.job;
            pthread_cond_wait(&crew.start, &crew.lock);
        }
        seen = crew.job;
        Work work = crew.work;
        void *given = crew.given;
        Team *team = crew.team;
        pthread_mutex_unlock(&crew.lock);
        work(given, member, *team);
        pthread_mutex_lock(&crew.lock);
        if (++crew.finished == crew.wanted - 1)
            pthread_cond_signal(&crew.done);
    }
    return 0;
}

// Threads for members 1 to size - 1; how many members there are then. Signals are for the
// program's own threads.
static int64_t crew_grown(int64_t size) {
    sigset_t every, before;
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    while (crew.threads + 1 < size) {
        pthread_t thread;
        if (pthread_create(&thread, 0, crew_member, (void *)(intptr_t)(crew.threads + 1)))
            break;
        pthread_detach(thread);
        crew.threads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, 0);
    return crew.threads + 1 < size ? crew.threads + 1 : size;
}

// Run the work by as many members as asked for, or by those that there are.
static void together(int64_t size, Work work, void *given) {
    Meeting at = {0, 0};
    Team team = {1, &at};
    const Run run = __atomic_load_n(&lent.run, __ATOMIC_ACQUIRE);
    if (size > 1 && run) {
        Borrowed job = {work, given, &at};
        run(borrowed_work, &job, size, 0);
        return;
    }
    if (size > 1)
        pthread_once(&crew_known, crew_begin);
    if (size <= 1 || pthread_mutex_trylock(&crew.busy)) {
        work(given, 0, team);
        return;
    }
    pthread_mutex_lock(&crew.lock);
    team.size = crew_grown(size);
    crew.wanted = team.size;
    crew.finished = 0;
    crew.work = work;
    crew.given = given;
    crew.team = &team;
    crew.job++;
    pthread_cond_broadcast(&crew.start);
    pthread_mutex_unlock(&crew.lock);
    work(given, 0, team);
    pthread_mutex_lock(&crew.lock);
    while (crew.finished < team.size - 1)
        pthread_cond_wait(&crew.done, &crew.lock);
    crew.wanted = 0;
    pthread_mutex_unlock(&crew.lock);
    pthread_mutex_unlock(&crew.busy);
}

// The part of `count` things that a member has, in units that are not cut.
struct Range {
    int64_t begin, end;
};
INLINE Range part(int64_t count, int64_t unit, int64_t member, int64_t size) {
    int64_t units = (count + unit - 1) / unit;
    int64_t begin = units * member / size * unit, end = units * (member + 1) / size * unit;
    return {begin < count ? begin : count, end < count ? end : count};
}
INLINE Range below(Range range, int64_t limit) {
    return {range.begin < limit ? range.begin : limit, range.end < limit ? range.end : limit};
}
