// phased_lstm: LSTM with a time gate: each unit opens for a part of its own period, so that events may come at any time.
//
// Neil, Pfeiffer & Liu 2016, NeurIPS
//
//     i    = sigmoid(W_i·[h, x] + p_i*c + b_i)                       # input gate
//     f    = sigmoid(W_f·[h, x] + p_f*c + b_f)                       # forget gate
//     g    = tanh(W_g·[h, x] + b_g)                                  # candidate
//     c̃    = f*c + i*g
//     o    = sigmoid(W_o·[h, x] + p_o*c̃ + b_o)                       # output gate
//     h̃    = o*tanh(c̃)
//     leak = training(α, 0)
//     φ    = mod(t - s, τ)/τ                                         # phase
//     k    = where(φ < r/2, 2*φ/r, where(φ < r, 2 - 2*φ/r, leak*φ))  # openness
//     c'   = k*c̃ + (1 - k)*c
//     h'   = k*h̃ + (1 - k)*h
//
// Key 3b14d91065233837. Written by cellc.
//
// Build it with a C++ compiler, which need not have a C++ library, and link it with C:
//
//     cc -x c++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math
//         -fno-exceptions -fno-rtti -c phased_lstm.cpp -o phased_lstm.o     (all on one line)
//     cc main.c phased_lstm.o -lm -lpthread
//
// Arrays are in row-major order, in the shapes that are told, where B is the number of
// sequences and T that of steps. Several threads may call at once with one model.

#ifndef PHASED_LSTM_H
#define PHASED_LSTM_H

#include <stdint.h>

// Numbers are float, or double where REAL_BITS is 64, here and in the .cpp; what was compiled for
// one does not link with the other.
#ifndef REAL_BITS
#define REAL_BITS 32
#endif
#if REAL_BITS == 64
typedef double phased_lstm_real;
#define phased_lstm_prepare phased_lstm_prepare_64
#define phased_lstm_forward phased_lstm_forward_64
#define phased_lstm_free phased_lstm_free_64
#else
typedef float phased_lstm_real;
#define phased_lstm_prepare phased_lstm_prepare_32
#define phased_lstm_forward phased_lstm_forward_32
#define phased_lstm_free phased_lstm_free_32
#endif

#ifdef __cplusplus
extern "C" {
#endif

// What functions return.
enum {
    PHASED_LSTM_OK,           // nothing is wrong
    PHASED_LSTM_BAD_ARGUMENT, // a pointer that is needed is null
    PHASED_LSTM_BAD_SIZE,     // a size, or how many steps or sequences there are, cannot be
    PHASED_LSTM_BAD_LENGTH,   // a length is below one or above the number of steps
    PHASED_LSTM_BAD_INDEX,    // a whole number of an input names no row of a table
    PHASED_LSTM_NO_MEMORY,    // there is no memory
};

// Dimensions and options.
typedef struct {
    int64_t input_size;  // I
    int64_t hidden_size; // H
    double alpha;        // an option, by default 0.001: leak while training
} phased_lstm_config;

// The parameters, under the names that they have in Python. None is null.
typedef struct {
    const phased_lstm_real *p_i; // [H]
    const phased_lstm_real *p_f; // [H]
    const phased_lstm_real *p_o; // [H]
    const phased_lstm_real *tau; // [H]: period
    const phased_lstm_real *s;   // [H]: shift
    const phased_lstm_real *r;   // [H]: open share
    const phased_lstm_real *W_i; // [H, H + I]
    const phased_lstm_real *b_i; // [H]
    const phased_lstm_real *W_f; // [H, H + I]
    const phased_lstm_real *b_f; // [H]
    const phased_lstm_real *W_g; // [H, H + I]
    const phased_lstm_real *b_g; // [H]
    const phased_lstm_real *W_o; // [H, H + I]
    const phased_lstm_real *b_o; // [H]
} phased_lstm_parameters;

// A state for each sequence. What is null starts afresh, or is not wanted.
typedef struct {
    phased_lstm_real *h; // [B, H]
    phased_lstm_real *c; // [B, H]
} phased_lstm_state;

// Parameters as calls read them. They are copied: their arrays may go or change, and a change asks
// for another model.
typedef struct phased_lstm_model phased_lstm_model;

// Make a model. *model is null unless PHASED_LSTM_OK is returned.
int phased_lstm_prepare(const phased_lstm_config *config, const phased_lstm_parameters *parameters,
    phased_lstm_model **model);

// Run sequences. What is written overlaps nothing else, but end may be start.
//
//     model: what was prepared.
//     steps: how many steps there are, T.
//     batch: how many sequences there are, B.
//     lengths [B]: how many steps each sequence has, in any order; null where all have all.
//         Behind its end inputs are not read, outputs are zero, and its state stays.
//     x [T, B, I].
//     t [T, B]: time stamp.
//     start: the states to start with; null to start afresh.
//     output [T, B, H]: becomes the output h'; null where it is not wanted.
//     end: its arrays become the states after the last step of each sequence;
//         null where they are not wanted.
//     threads: how many threads may work, this one among them.
int phased_lstm_forward(const phased_lstm_model *model, int64_t steps, int64_t batch,
    const int64_t *lengths, const phased_lstm_real *x, const phased_lstm_real *t,
    const phased_lstm_state *start, phased_lstm_real *output, const phased_lstm_state *end,
    int threads);

// Give a model's memory back. It may be null.
void phased_lstm_free(phased_lstm_model *model);

#ifdef __cplusplus
}
#endif

#endif
