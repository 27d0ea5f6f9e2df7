/* Spinning while something is going on, so that a processor does not fall asleep.
 *
 *     spin_while_counting(beat, nanoseconds) -> None
 *
 * `beat` is a writable buffer of two u64: a count that its owner raises, and a word that is not 0 once it shall end. The
 * call returns when either says so: the count stood still for that long, or the word was set. It runs without the
 * interpreter lock, and only reads the buffer, which is held meanwhile.
 */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <time.h>

enum { LOOKS = 64 }; /* between two looks at the clock */

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void pause_a_little(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static void spin(const volatile uint64_t *beat, int64_t patience)
{
    uint64_t seen = beat[0];
    int64_t since = now();
    while (beat[1] == 0) {
        for (int look = 0; look < LOOKS; look++)
            pause_a_little();
        int64_t moment = now();
        if (beat[0] != seen) {
            seen = beat[0];
            since = moment;
        } else if (moment - since > patience) {
            return;
        }
    }
}

static PyObject *spin_while_counting(PyObject *self, PyObject *args)
{
    Py_buffer beat;
    long long patience;
    (void)self;
    if (!PyArg_ParseTuple(args, "w*L", &beat, &patience))
        return NULL;
    if (beat.len != 2 * (Py_ssize_t)sizeof(uint64_t) || (uintptr_t)beat.buf % sizeof(uint64_t) != 0) {
        PyBuffer_Release(&beat);
        PyErr_SetString(PyExc_ValueError, "a beat is two aligned words of 64 bits");
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    spin(beat.buf, patience);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&beat);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(spin_doc, "spin_while_counting(beat, nanoseconds) -> None\n\n"
                       "Return when the first word of `beat` stood still for so long, or the second is not 0.");

static PyMethodDef methods[] = {
    {"spin_while_counting", spin_while_counting, METH_VARARGS, spin_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_waiting", "Spinning while something is going on. See btspeed.", 0, methods, NULL, NULL,
    NULL, NULL,
};

PyMODINIT_FUNC PyInit__waiting(void)
{
    return PyModuleDef_Init(&definition);
}
