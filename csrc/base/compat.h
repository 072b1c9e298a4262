/* base/compat.h - what older CPythons lack, under the newer names.
 *
 * Each shim names the version that makes it unneeded.
 * Threads: any that hold the GIL.   Python code run here: none.
 */
#ifndef TAC_BASE_COMPAT_H
#define TAC_BASE_COMPAT_H

#include <Python.h>

#if PY_VERSION_HEX < 0x030C0000 /* 3.12 */
static inline PyObject *
PyErr_GetRaisedException(void)
{
    PyObject *type, *value, *tb;
    PyErr_Fetch(&type, &value, &tb);
    if (type == NULL) {
        return NULL;
    }
    PyErr_NormalizeException(&type, &value, &tb);
    if (tb != NULL) {
        PyException_SetTraceback(value, tb);
        Py_DECREF(tb);
    }
    Py_DECREF(type);
    return value;
}

static inline void
PyErr_SetRaisedException(PyObject *exc)
{
    if (exc == NULL) {
        PyErr_Clear();
        return;
    }
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exc)), exc,
                  PyException_GetTraceback(exc));
}
#endif

#if PY_VERSION_HEX < 0x030D0000 /* 3.13 */
static inline int
PyDict_GetItemRef(PyObject *dict, PyObject *key, PyObject **result)
{
    *result = Py_XNewRef(PyDict_GetItemWithError(dict, key));
    if (*result != NULL) {
        return 1;
    }
    return PyErr_Occurred() ? -1 : 0;
}

static inline int
PyObject_GetOptionalAttr(PyObject *obj, PyObject *name, PyObject **result)
{
    *result = PyObject_GetAttr(obj, name);
    if (*result != NULL) {
        return 1;
    }
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
        return -1;
    }
    PyErr_Clear();
    return 0;
}

static inline int
PyWeakref_GetRef(PyObject *ref, PyObject **object)
{
    PyObject *found = PyWeakref_GetObject(ref); /* borrowed */
    *object = found == NULL || found == Py_None ? NULL : Py_NewRef(found);
    return found == NULL ? -1 : *object != NULL;
}

static inline int
Py_IsFinalizing(void)
{
    return _Py_IsFinalizing();
}
#endif

#endif
