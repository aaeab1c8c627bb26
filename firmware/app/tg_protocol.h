/* The serial protocol of the MLPerf Tiny benchmark's harness, with two commands more: raw outputs and cycles per layer. */
#ifndef TG_PROTOCOL_H
#define TG_PROTOCOL_H

#ifdef __cplusplus
extern "C" {
#endif

/* Says that the board is ready. */
void tg_protocol_start(void);

/* Takes the bytes that came in and answers every command that is complete; returns when there are no more. */
void tg_protocol_poll(void);

#ifdef __cplusplus
}
#endif

#endif
