/* aio/births.c - the Tasks of a group that have used no scopes yet. */
#include "aio/births.h"

#include "aio/loop.h"

#include <stddef.h>

static tac_births *
births_of_base(struct tac_task *base)
{
    return tac_list_entry(base, tac_births, base);
}

/* The map ------------------------------------------------------------------ */

TacScope *
tac_births_scope(TacLoop *loop, PyObject *task)
{
    const tac_births *births = tac_ptrmap_get(&loop->scoped.births, task);
    return births == NULL ? NULL : births->base.scope;
}

TacScope *
tac_births_take(TacLoop *loop, PyObject *task)
{
    const tac_births *births = tac_ptrmap_take(&loop->scoped.births, task);
    return births == NULL ? NULL : births->base.scope;
}

int
tac_births_add(tac_births *births, PyObject *task)
{
    TacLoop *loop = births->loop;
    TacScope *scope = births->base.scope;
    /* What was begun eagerly may have a TacScoped already. */
    if (scope->effectively_cancelled || tac_scoped_find(loop, task) != NULL) {
        return tac_scoped_adopt(loop, task, scope);
    }
    if (tac_ptrmap_put(&loop->scoped.births, task, births) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

void
tac_births_end(TacLoop *loop, PyObject *task)
{
    if (tac_births_take(loop, task) != NULL) {
        return;
    }
    TacScoped *scoped = tac_scoped_find(loop, task);
    if (scoped != NULL) {
        tac_scoped_drop(scoped);
    }
}

/* The species -------------------------------------------------------------- */

static int
births_step(struct tac_task *base)
{
    return 0; /* it is in no queue */
}

/* From now on each of them is in the scope itself, and so is told. */
static int
births_cancel(struct tac_task *base, const struct tac_cause *cause)
{
    tac_births *births = births_of_base(base);
    PyObject *tasks = PyDict_Keys(births->tasks);
    int rc = tasks == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(tasks); i++) {
        PyObject *task = PyList_GET_ITEM(tasks, i);
        TacLoop *loop = births->loop; /* NULL: a collection has closed it */
        if (loop != NULL
            && tac_ptrmap_get(&loop->scoped.births, task) == births)
        {
            rc = tac_scoped_of(loop, task) == NULL ? -1 : 0;
        }
    }
    Py_XDECREF(tasks);
    return rc;
}

static PyObject *
births_owner(struct tac_task *base)
{
    return births_of_base(base)->owner;
}

static PyObject *
births_object(struct tac_task *base)
{
    return Py_NewRef(births_owner(base));
}

static const struct tac_task_ops births_ops = {
    .name = "<asyncio Tasks of a group>",
    .library = offsetof(TacState, str_asyncio),
    .step = births_step,
    .cancel = births_cancel,
    .owner = births_owner,
    .object = births_object,
};

int
tac_births_open(tac_births *births, TacLoop *loop, TacScope *scope,
                PyObject *owner, PyObject *tasks)
{
    births->loop = loop;
    births->owner = owner;
    births->tasks = tasks;
    births->base.ops = &births_ops;
    births->base.runner = loop->runner;
    births->base.abortable = true;
    return tac_task_activate(&births->base, scope);
}

void
tac_births_close(tac_births *births)
{
    if (births->base.runner == NULL) {
        return;
    }
    Py_ssize_t at = 0;
    PyObject *task, *value;
    while (PyDict_Next(births->tasks, &at, &task, &value)) {
        if (tac_ptrmap_get(&births->loop->scoped.births, task) == births) {
            (void)tac_births_take(births->loop, task);
        }
    }
    tac_ctask_unlink(&births->base);
    births->loop = NULL;
}

int
tac_births_traverse(tac_births *births, visitproc visit, void *arg)
{
    Py_VISIT((PyObject *)births->base.scope);
    return 0;
}
