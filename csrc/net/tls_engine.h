/* net/tls_engine.h - what encrypts and decrypts, behind one interface.
 *
 * Two engines. One calls the methods of the interpreter's own _ssl._SSLSocket
 * over its MemoryBIOs: it works on every Python. The other calls OpenSSL's
 * functions for the same SSL object, over BIOs that read what arrived where
 * it lies and write into the bytes object that is then sent. It is used where
 * the interpreter's own libssl was found, and where a look at some objects
 * proved that the SSL object is where it is thought to be (tls_direct.c).
 *
 * The Python object stays the owner of the SSL object either way, does
 * handshake and shutdown, and raises the errors.
 *
 * Owns: struct tac_tls_direct's memory.
 * Threads: the loop's.   Python code run here: arbitrary (callbacks of the
 *     SSL context), unless said.
 */
#ifndef TAC_NET_TLS_ENGINE_H
#define TAC_NET_TLS_ENGINE_H

#include <Python.h>
#include <stdbool.h>

struct TacTls;
struct tac_openssl;

enum tac_tls_result {
    TAC_TLS_DONE,  /* all there was, or all that was asked for */
    TAC_TLS_AGAIN, /* as far as it went without more from the peer */
    TAC_TLS_EOF,   /* the peer said that it sends no more */
    TAC_TLS_ERROR, /* an exception is set */
};

/* Of a connection whose SSL object has BIOs of ours. */
struct tac_tls_direct {
    void *ssl;  /* borrowed: kept alive by raw; NULL: not in use */
    void *rbio; /* owned, one reference each */
    void *wbio;
    const char *in; /* borrowed: in buffer_view, or stash; to be decrypted */
    size_t in_len;
    char *stash;    /* owned: what is left over between two reads */
    PyObject *out;  /* owned bytes that nobody else has seen, or NULL */
    size_t out_len; /* how much of it is written */
    char *spill; /* owned: written while another thread may have the GIL */
    size_t spill_len;
    bool has_gil;   /* an operation of ours is running */
    bool no_memory; /* a BIO could not grow */
};

/* Find the raw object of tls->sslobj, and take the direct engine for it if
 * that is to be had. 0, or -1 with an exception. */
int tac_tls_engine_bind(struct TacTls *tls);

/* Take in ciphertext; the direct engine reads it where it is until
 * tac_tls_engine_settle. 0, or -1 with an exception. */
int tac_tls_engine_feed(struct TacTls *tls, const char *data, size_t len);

/* Keep what was fed and is not decrypted. 0, or -1 with an exception. */
int tac_tls_engine_settle(struct TacTls *tls);

/* Decrypt all there is. *data: new ref, or NULL for nothing. DONE, EOF or
 * ERROR. */
enum tac_tls_result tac_tls_engine_read_all(struct TacTls *tls,
                                            PyObject **data);

/* Decrypt into a writable buffer. DONE: it is full; AGAIN, EOF or ERROR. */
enum tac_tls_result tac_tls_engine_read_into(struct TacTls *tls,
                                             PyObject *buffer, size_t *got);

/* Encrypt. DONE, AGAIN (*written < len), or ERROR. */
enum tac_tls_result tac_tls_engine_write(struct TacTls *tls, const char *data,
                                         size_t len, size_t *written);

/* Take out all ciphertext. Returns: new ref (maybe empty) | NULL+exc. */
PyObject *tac_tls_engine_take(struct TacTls *tls);

/* owner.write(data); owner: what a field has, which can change meanwhile;
 * data: stolen. Returns: new ref | NULL+exc. */
PyObject *tac_tls_engine_call_write(struct TacTls *tls, PyObject *owner,
                                    PyObject *data);

/* How much ciphertext is there to take, and to decrypt; -1 with an
 * exception. */
Py_ssize_t tac_tls_engine_out_len(struct TacTls *tls);
Py_ssize_t tac_tls_engine_in_len(struct TacTls *tls);

/* Forget the SSL object and all memory; idempotent. Python code: dealloc
 * only. */
void tac_tls_engine_unbind(struct TacTls *tls);

/* The direct engine, for tls_engine.c. Names and results as above. */
void tac_tls_direct_bind(struct TacTls *tls);
void tac_tls_direct_unbind(struct TacTls *tls);
int tac_tls_direct_feed(struct TacTls *tls, const char *data, size_t len);
int tac_tls_direct_settle(struct TacTls *tls);
enum tac_tls_result tac_tls_direct_read_all(struct TacTls *tls,
                                            PyObject **data);
enum tac_tls_result tac_tls_direct_read_into(struct TacTls *tls, char *buf,
                                             size_t len, size_t *got);
enum tac_tls_result tac_tls_direct_write(struct TacTls *tls, const char *data,
                                         size_t len, size_t *written);
PyObject *tac_tls_direct_take(struct TacTls *tls);

/* Look for the interpreter's OpenSSL: `path` of its _ssl module, its
 * version's text, and `samples`, tuples (context, _SSLSocket, incoming
 * MemoryBIO, outgoing MemoryBIO) to learn and to prove the layout by.
 * *found: new memory for PyMem_Free, or NULL: not to be had. 0, or -1 with an
 * exception. */
int tac_tls_direct_probe(PyObject *path, PyObject *version, PyObject *samples,
                         struct tac_openssl **found);

#endif
