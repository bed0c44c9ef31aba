// An LSTM in a C program, without Python: prepare it, run sequences, carry on where they ended.
//
// From this directory, with cellc installed and a C++ compiler (its C++ library is not needed):
//
//     make
//
// or by hand:
//
//     cellc compile lstm --target native -o .
//     cc -x c++ -std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math
//         -fno-exceptions -fno-rtti -c lstm.cpp -o lstm.o     (all on one line)
//     cc main.c lstm.o -o main -lm -lpthread
//     ./main
//
// A trained cell has its parameters in `state_dict()` in Torch and in `params` in NumPy, under
// the names of `lstm_parameters`. Here they are made up, and the numbers are checked against the
// equations at the top of lstm.h, written out one by one.

#include <math.h>
#include <stdio.h>

#include "lstm.h"

enum { INPUT = 5, HIDDEN = 7, STEPS = 9, BATCH = 3, DEPTH = HIDDEN + INPUT };

static lstm_real weights[4][HIDDEN][DEPTH], biases[4][HIDDEN];

// A number between -1 and 1 that looks as if it were random.
static double any(void) {
    static uint32_t seed = 1;
    seed = seed * 1664525u + 1013904223u;
    return seed / 2147483648.0 - 1;
}

static double sigmoid(double a) { return 1 / (1 + exp(-a)); }

// One step of one sequence, as the equations say.
static void step(const lstm_real *x, double *h, double *c) {
    double gates[4][HIDDEN];
    for (int gate = 0; gate < 4; gate++)
        for (int j = 0; j < HIDDEN; j++) {
            double sum = biases[gate][j];
            for (int k = 0; k < HIDDEN; k++)
                sum += weights[gate][j][k] * h[k];
            for (int k = 0; k < INPUT; k++)
                sum += weights[gate][j][HIDDEN + k] * x[k];
            gates[gate][j] = gate == 3 ? tanh(sum) : sigmoid(sum);
        }
    for (int j = 0; j < HIDDEN; j++) {
        c[j] = gates[0][j] * c[j] + gates[1][j] * gates[3][j];
        h[j] = gates[2][j] * tanh(c[j]);
    }
}

// The largest difference between what the model gave and the equations.
static double difference(const lstm_real x[STEPS][BATCH][INPUT],
                         const lstm_real y[STEPS][BATCH][HIDDEN], const int64_t *lengths) {
    double largest = 0;
    for (int sequence = 0; sequence < BATCH; sequence++) {
        double h[HIDDEN] = {0}, c[HIDDEN] = {0};
        for (int t = 0; t < STEPS; t++) {
            if (t < lengths[sequence])
                step(x[t][sequence], h, c);
            for (int j = 0; j < HIDDEN; j++) {
                double wanted = t < lengths[sequence] ? h[j] : 0;
                double here = fabs(y[t][sequence][j] - wanted);
                largest = here > largest ? here : largest;
            }
        }
    }
    return largest;
}

int main(void) {
    static lstm_real x[STEPS][BATCH][INPUT], y[STEPS][BATCH][HIDDEN];
    static lstm_real h[BATCH][HIDDEN], c[BATCH][HIDDEN];
    for (int k = 0; k < 4 * HIDDEN * DEPTH; k++)
        (&weights[0][0][0])[k] = (lstm_real)any();
    for (int k = 0; k < 4 * HIDDEN; k++)
        (&biases[0][0])[k] = (lstm_real)any();
    for (int k = 0; k < STEPS * BATCH * INPUT; k++)
        (&x[0][0][0])[k] = (lstm_real)any();

    const lstm_config config = {.input_size = INPUT, .hidden_size = HIDDEN};
    const lstm_parameters parameters = {
        .W_f = weights[0][0], .W_i = weights[1][0], .W_o = weights[2][0], .W_g = weights[3][0],
        .b_f = biases[0],     .b_i = biases[1],     .b_o = biases[2],     .b_g = biases[3],
    };
    lstm_model *model;
    int result = lstm_prepare(&config, &parameters, &model);
    if (result != LSTM_OK) {
        printf("lstm_prepare returns %d\n", result);
        return 1;
    }

    // Sequences of different lengths, from zero states.
    const int64_t lengths[BATCH] = {4, 9, 6}, all[BATCH] = {STEPS, STEPS, STEPS};
    result = lstm_forward(model, STEPS, BATCH, lengths, x[0][0], NULL, y[0][0], NULL, 1);
    const double ragged = difference(x, y, lengths);

    // Whole sequences in two parts: the second carries on with the states that the first leaves.
    const lstm_state state = {.h = h[0], .c = c[0]};
    if (result == LSTM_OK)
        result = lstm_forward(model, 4, BATCH, NULL, x[0][0], NULL, y[0][0], &state, 1);
    if (result == LSTM_OK)
        result = lstm_forward(model, STEPS - 4, BATCH, NULL, x[4][0], &state, y[4][0], &state, 2);
    const double whole = difference(x, y, all);
    lstm_free(model);

    if (result != LSTM_OK || !(ragged < 1e-5) || !(whole < 1e-5)) {
        printf("wrong: it returns %d and differs by %g and %g\n", result, ragged, whole);
        return 1;
    }
    printf("the numbers are as they should be, within %.1e\n", ragged > whole ? ragged : whole);
    return 0;
}
