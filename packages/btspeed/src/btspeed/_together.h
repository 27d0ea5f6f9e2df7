/* Many batches of sectors, by two threads where there is enough to do and a second processor.
 *
 * Both take the next batch until none is left, so that a helper who comes late, or not at all, costs nothing but his
 * start. He is a thread of his own, without Python and without signals, and has ended when `run_unlocked` returns.
 */

#pragma once

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

/* Starting a thread takes as long as some thirty sectors. */
enum { TOGETHER_FROM = 4 * BATCH };

typedef int (*Batch)(Engine *, const Sector *, int);

typedef struct {
    Batch batch;
    const Sector *sectors;
    Py_ssize_t count;
    _Atomic Py_ssize_t next;
    atomic_int done; /* 1: as far as it went; else what the first batch that was not done returned */
} Work;

typedef struct {
    Work *work;
    Engine *engine;
} Helper;

static void work_on(Work *work, Engine *engine)
{
    while (atomic_load(&work->done) == 1) {
        Py_ssize_t at = atomic_fetch_add(&work->next, BATCH);
        if (at >= work->count)
            return;
        int count = work->count - at < BATCH ? (int)(work->count - at) : BATCH;
        int done = work->batch(engine, work->sectors + at, count), whole = 1;
        if (done != 1)
            atomic_compare_exchange_strong(&work->done, &whole, done);
    }
}

static void *help(void *argument)
{
    Helper *helper = argument;
    work_on(helper->work, helper->engine);
    return NULL;
}

static int has_second_processor(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 1;
}

/* A thread that no signal is delivered to: Python's handlers run in its own. */
static int start_helper(pthread_t *thread, Helper *helper)
{
    sigset_t all, before;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0)
        return 0;
    int started = pthread_create(thread, NULL, help, helper) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static void work_together(Work *work, Engine *engine, Engine *second)
{
    Helper helper = {work, second};
    pthread_t thread;
    int started = start_helper(&thread, &helper);
    work_on(work, engine);
    if (started)
        pthread_join(thread, NULL);
}

/* Do all of it, `second` being NULL or an engine for the helper: 1, or what a batch that was not done returned. Lets
 * the interpreter lock go where that is worth it. */
static int run_unlocked(Engine *engine, Engine *second, Batch batch, const Sector *sectors, Py_ssize_t count,
                        Py_ssize_t bytes)
{
    Work work = {.batch = batch, .sectors = sectors, .count = count};
    atomic_init(&work.next, 0);
    atomic_init(&work.done, 1);
    if (bytes < UNLOCK_FROM) {
        work_on(&work, engine);
    } else {
        Py_BEGIN_ALLOW_THREADS
        if (second != NULL)
            work_together(&work, engine, second);
        else
            work_on(&work, engine);
        Py_END_ALLOW_THREADS
    }
    return atomic_load(&work.done);
}
