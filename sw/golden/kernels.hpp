// SPDX-License-Identifier: Apache-2.0
// One operator on a few examples, forward and backward, in float or double. Single-threaded; the
// callers split a batch into chunks of a fixed size, so that the order of every sum, and with it
// every bit, is the same for any number of threads. Layouts as in sw/graph/network.hpp; every
// pointer is to n examples of the layer's shape.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "sw/graph/network.hpp"

namespace lastmile::kernels {

// Examples per chunk.
inline constexpr int kChunk = 8;

// Buffers that one thread keeps from call to call.
template <class T>
struct Scratch {
  std::vector<T> columns, column_gradients;
};

// conv2d, depthwise_conv2d, fully_connected: y = activation(w * x + bias). `bias` may be null.
template <class T>
void weighted_forward(const Layer& layer, int n, const T* x, const T* weights, const T* bias,
                      Activation activation, T* y, Scratch<T>& scratch);
// Adds to dx, dweights and dbias (each may be null); dy is the gradient before the activation.
template <class T>
void weighted_backward(const Layer& layer, int n, const T* x, const T* weights, const T* dy, T* dx,
                       T* dweights, T* dbias, Scratch<T>& scratch);

// The pools, add, concat and softmax, without activation. `inputs`: one pointer per input.
template <class T>
void plain_forward(const Layer& layer, int n, std::span<const T* const> inputs, T* y);
// Adds to what `gradients` points to, one per input (each may be null; they may be the same). `a`:
// the first input. Softmax has no backward here: the loss is taken from its input.
template <class T>
void plain_backward(const Layer& layer, int n, const T* a, const T* dy,
                    std::span<T* const> gradients);

template <class T>
void activate(Activation activation, const T* x, T* y, std::size_t count);
// dy *= derivative of the activation at the point whose activated value is y; at the corners it is
// 0.
template <class T>
void activate_backward(Activation activation, const T* y, T* dy, std::size_t count);

}  // namespace lastmile::kernels
