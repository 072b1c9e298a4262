/* net/tls_setup.c - what TLS learns of the interpreter's asyncio and ssl, and
 * the type of transports, which derives from asyncio's.
 *
 * SSLTransport is asyncio's transport with one field more, the protocol,
 * which hides the attribute of that name. Traversing, clearing and dealloc
 * are the base's, which know members of heap types.
 */
#include "base/args.h"
#include "base/compat.h"
#include "net/tls.h"

#include <string.h>
#include <structmember.h>

/* The transport ----------------------------------------------------------- */

/* The protocol, if it is one of ours, else NULL. Borrowed. */
static TacTls *
tlstransport_core(PyObject *self, TacState *st)
{
    PyObject *protocol;
    memcpy(&protocol, (char *)self + st->tls_transport_offset,
           sizeof(protocol));
    if (protocol == NULL || !PyObject_TypeCheck(protocol, st->tls_type)) {
        return NULL;
    }
    return (TacTls *)protocol;
}

/* The base's method of a name. */
static PyObject *
tlstransport_inherited(PyObject *self, PyTypeObject *type, const char *name,
                       PyObject *arg)
{
    return PyObject_CallMethod((PyObject *)type->tp_base, name, "OO", self,
                               arg);
}

static int
tlstransport_bind(const char *name, const char *parameter,
                  PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                  PyObject **value)
{
    const char *const names[] = {parameter, NULL};
    const struct tac_params params = {name, 1, 1, names};
    return tac_args_bind(&params, args, nargs, kwnames, value);
}

PyDoc_STRVAR(tlstransport_write_doc,
"write($self, data)\n--\n\n"
"Encrypt and send `data`, of any bytes-like type; never blocks.\n\n"
"Raises TypeError for anything else. Flavor: sync. Thread-safe: no.");

static PyObject *
tlstransport_write(PyObject *self, PyTypeObject *type, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *data;
    if (tlstransport_bind("write", "data", args, nargs, kwnames, &data) < 0) {
        return NULL;
    }
    TacTls *tls = tlstransport_core(self, PyType_GetModuleState(type));
    if (tls == NULL
        || !(PyBytes_Check(data) || PyByteArray_Check(data)
             || PyMemoryView_Check(data)))
    {
        return tlstransport_inherited(self, type, "write", data);
    }
    int given = PyObject_IsTrue(data);
    if (given > 0) {
        given = tac_tls_write(tls, data);
    }
    if (given < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(tlstransport_writelines_doc,
"writelines($self, list_of_data)\n--\n\n"
"Encrypt and send all items, small ones together in one record.\n\n"
"Flavor: sync. Thread-safe: no.");

static PyObject *
tlstransport_writelines(PyObject *self, PyTypeObject *type,
                        PyObject *const *args, Py_ssize_t nargs,
                        PyObject *kwnames)
{
    PyObject *lines;
    if (tlstransport_bind("writelines", "list_of_data", args, nargs, kwnames,
                          &lines) < 0)
    {
        return NULL;
    }
    TacTls *tls = tlstransport_core(self, PyType_GetModuleState(type));
    if (tls == NULL) {
        return tlstransport_inherited(self, type, "writelines", lines);
    }
    if (tac_tls_writelines(tls, lines) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

#define TRANSPORT_METHOD(name, fn, doc)                 \
    {                                                   \
        name, (PyCFunction)(void (*)(void))fn,          \
            METH_METHOD | METH_FASTCALL | METH_KEYWORDS, doc \
    }

static PyMethodDef tlstransport_methods[] = {
    TRANSPORT_METHOD("write", tlstransport_write, tlstransport_write_doc),
    TRANSPORT_METHOD("writelines", tlstransport_writelines,
                     tlstransport_writelines_doc),
    {NULL},
};

#undef TRANSPORT_METHOD

PyDoc_STRVAR(tlstransport_doc,
"What an application's protocol writes to; see asyncio.Transport.");

PyTypeObject *
tac_tls_transport_type(PyObject *module, PyObject *base)
{
    if (!PyType_Check(base)) {
        PyErr_SetString(PyExc_TypeError, "the base must be a class");
        return NULL;
    }
    Py_ssize_t offset = ((PyTypeObject *)base)->tp_basicsize;
    PyMemberDef members[] = {
        {"_ssl_protocol", T_OBJECT_EX, offset, 0, NULL},
        {NULL},
    };
    PyType_Slot slots[] = {
        {Py_tp_doc, (void *)tlstransport_doc},
        {Py_tp_methods, tlstransport_methods},
        {Py_tp_members, members},
        {0, NULL},
    };
    PyType_Spec spec = {
        .name = "trio_asyncio_c._core.SSLTransport",
        .basicsize = (int)(offset + (Py_ssize_t)sizeof(PyObject *)),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
        .slots = slots,
    };
    tac_state_of_module(module)->tls_transport_offset = offset;
    PyObject *bases = PyTuple_Pack(1, base);
    PyObject *type =
        bases == NULL ? NULL : PyType_FromModuleAndSpec(module, &spec, bases);
    Py_XDECREF(bases);
    return (PyTypeObject *)type;
}

/* Functions for _tls.py --------------------------------------------------- */

static void
tlssetup_keep(PyObject **place, PyObject *value)
{
    Py_XSETREF(*place, Py_NewRef(value));
}

PyDoc_STRVAR(tlssetup_learn_doc,
"_tls_setup($module, protocol, transport, again, error, states,\n"
"           ssl_object, ssl_socket, memory_bio, /)\n--\n\n"
"Learn asyncio's and ssl's classes; returns the type of transports.");

static PyObject *
tlssetup_learn(PyObject *module, PyObject *args)
{
    TacState *st = tac_state_of_module(module);
    PyObject *protocol, *transport, *again, *error, *object, *socket, *bio;
    PyObject *handshake, *wrapped, *flushing, *shutdown;
    if (!PyArg_ParseTuple(args, "OOO!O(OOOO)OOO:_tls_setup", &protocol,
                          &transport, &PyTuple_Type, &again, &error,
                          &handshake, &wrapped, &flushing, &shutdown, &object,
                          &socket, &bio))
    {
        return NULL;
    }
    PyTypeObject *type = tac_tls_transport_type(module, transport);
    if (type == NULL) {
        return NULL;
    }
    Py_XSETREF(st->tls_transport_type, type);
    tlssetup_keep(&st->ssl_protocol, protocol);
    tlssetup_keep(&st->ssl_again, again);
    tlssetup_keep(&st->ssl_error, error);
    tlssetup_keep(&st->ssl_object_type, object);
    tlssetup_keep(&st->ssl_socket_type, socket);
    tlssetup_keep(&st->memory_bio_type, bio);
    tlssetup_keep(&st->tls_handshake, handshake);
    tlssetup_keep(&st->tls_wrapped, wrapped);
    tlssetup_keep(&st->tls_flushing, flushing);
    tlssetup_keep(&st->tls_shutdown, shutdown);
    return Py_NewRef((PyObject *)type);
}

/* Is it a tuple of tuples (context, _SSLSocket, MemoryBIO, MemoryBIO)? */
static bool
tlssetup_are_samples(TacState *st, PyObject *samples)
{
    if (PyTuple_GET_SIZE(samples) == 0 || st->memory_bio_type == NULL) {
        return false;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(samples); i++) {
        PyObject *sample = PyTuple_GET_ITEM(samples, i);
        if (!PyTuple_Check(sample) || PyTuple_GET_SIZE(sample) != 4
            || (PyObject *)Py_TYPE(PyTuple_GET_ITEM(sample, 1))
                   != st->ssl_socket_type
            || (PyObject *)Py_TYPE(PyTuple_GET_ITEM(sample, 2))
                   != st->memory_bio_type
            || (PyObject *)Py_TYPE(PyTuple_GET_ITEM(sample, 3))
                   != st->memory_bio_type)
        {
            return false;
        }
    }
    return true;
}

PyDoc_STRVAR(tlssetup_find_doc,
"_tls_find_openssl($module, path, version, samples, /)\n--\n\n"
"Look for the OpenSSL that the ssl module at `path` uses; returns whether it\n"
"can be driven directly.");

static PyObject *
tlssetup_find(PyObject *module, PyObject *args)
{
    TacState *st = tac_state_of_module(module);
    PyObject *path, *version, *samples;
    if (!PyArg_ParseTuple(args, "OUO!:_tls_find_openssl", &path, &version,
                          &PyTuple_Type, &samples))
    {
        return NULL;
    }
    if (!tlssetup_are_samples(st, samples)) {
        PyErr_SetString(PyExc_TypeError, "samples of another kind");
        return NULL;
    }
    if (st->openssl == NULL
        && tac_tls_direct_probe(path, version, samples, &st->openssl) < 0)
    {
        return NULL;
    }
    return PyBool_FromLong(st->openssl != NULL);
}

PyDoc_STRVAR(tlssetup_use_doc,
"_tls_use_direct($module, use, /)\n--\n\n"
"Say whether connections to come may drive OpenSSL directly; returns whether\n"
"they could before.");

static PyObject *
tlssetup_use(PyObject *module, PyObject *use)
{
    TacState *st = tac_state_of_module(module);
    bool before = st->tls_use_direct && st->openssl != NULL;
    int now = PyObject_IsTrue(use);
    if (now < 0) {
        return NULL;
    }
    st->tls_use_direct = now;
    return PyBool_FromLong(before);
}

static PyMethodDef tlssetup_functions[] = {
    {"_tls_setup", tlssetup_learn, METH_VARARGS, tlssetup_learn_doc},
    {"_tls_find_openssl", tlssetup_find, METH_VARARGS, tlssetup_find_doc},
    {"_tls_use_direct", tlssetup_use, METH_O, tlssetup_use_doc},
    {NULL},
};

int
tac_tls_add_functions(PyObject *module, TacState *state)
{
    return PyModule_AddFunctions(module, tlssetup_functions);
}
