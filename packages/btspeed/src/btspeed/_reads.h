/* Reads that need no interpreter: what `_requests.c` asks of a table. */

#pragma once

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>

typedef struct ReadTable ReadTable;

/* The largest sector, and so the largest answer. */
enum { READ_LIMIT = 1 << 14 };

int reads_add_type(PyObject *module);

/* The table that an argument is, NULL for None; -1 with an exception set where it is neither. */
int reads_table(PyObject *module, PyObject *argument, ReadTable **table);

/* Read a range of a file into `room`, from where the pointer that is returned says; NULL where that is not known here.
 * Without the interpreter lock. */
const unsigned char *reads_serve(ReadTable *table, uint64_t file, uint64_t offset, uint32_t size,
                                 unsigned char room[READ_LIMIT]);
