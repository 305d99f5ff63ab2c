// The kernels as implementations of gsr::splat, gsr::splat_backward and gsr::resample for the CPU. The schemas are
// Python's (gsr_app/ops/schema.py). Only torch's stable ABI is used: one build serves every torch from 2.10 on.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

#include <algorithm>
#include <tuple>

#include "kernels.h"

namespace {

using torch::stable::Tensor;

// torch's own pool: no second runtime, and torch.set_num_threads applies here too.
gsr::cpu::Threads torch_threads(int64_t tasks) {
  const int available = static_cast<int>(torch::stable::get_num_threads());
  const int count = static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(available, tasks)));
  return {count, [count](const std::function<void(int)>& task) {
            torch::stable::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
              for (int64_t thread = begin; thread < end; ++thread) task(static_cast<int>(thread));
            });
          }};
}

// The four tensors of a scene, checked and contiguous, and their pointers.
struct SceneTensors {
  Tensor mean, sigma, rho, color;
  gsr::cpu::Scene scene;

  SceneTensors(const Tensor& mean_in, const Tensor& sigma_in, const Tensor& rho_in, const Tensor& color_in)
      : mean(checked(mean_in)), sigma(checked(sigma_in)), rho(checked(rho_in)), color(checked(color_in)) {
    const int64_t count = mean.size(0), channels = color.size(1);
    STD_TORCH_CHECK(mean.numel() == 2 * count && sigma.numel() == 2 * count && rho.numel() == count &&
                        color.size(0) == count && channels >= 1 && channels <= gsr::cpu::kMaxChannels,
                    "gsr::splat: the tensors' shapes do not match");
    scene = {data(mean), data(sigma), data(rho), data(color), count, static_cast<int>(channels)};
  }

  static const float* data(const Tensor& x) { return static_cast<const float*>(x.data_ptr()); }

  static Tensor checked(const Tensor& x) {
    STD_TORCH_CHECK(x.scalar_type() == torch::headeronly::ScalarType::Float, "gsr::splat on the CPU takes float32");
    return torch::stable::contiguous(x);
  }
};

gsr::cpu::Frame make_frame(int64_t height, int64_t width, int64_t top, int64_t left, double window_x, double window_y,
                           double eps) {
  const auto cut = gsr::make_cut(static_cast<float>(eps), static_cast<float>(window_x), static_cast<float>(window_y));
  return {static_cast<int>(height), static_cast<int>(width), static_cast<int>(top), static_cast<int>(left), cut};
}

// With fewer Gaussians per thread, waking another thread costs more than it saves.
constexpr int64_t kGaussiansPerThread = 256;

Tensor splat(const Tensor& mean, const Tensor& sigma, const Tensor& rho, const Tensor& color, int64_t height,
             int64_t width, int64_t top, int64_t left, double window_x, double window_y, double eps) {
  const SceneTensors tensors(mean, sigma, rho, color);
  Tensor out = torch::stable::new_empty(color, {color.size(1), height, width});
  gsr::cpu::draw(tensors.scene, make_frame(height, width, top, left, window_x, window_y, eps),
                 torch_threads(tensors.scene.count / kGaussiansPerThread), static_cast<float*>(out.data_ptr()));
  return out;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> splat_backward(const Tensor& grad, const Tensor& mean, const Tensor& sigma,
                                                          const Tensor& rho, const Tensor& color, int64_t height,
                                                          int64_t width, int64_t top, int64_t left, double window_x,
                                                          double window_y, double eps) {
  const SceneTensors tensors(mean, sigma, rho, color);
  const Tensor pixels = SceneTensors::checked(grad);
  STD_TORCH_CHECK(pixels.numel() == color.size(1) * height * width, "gsr::splat_backward: grad has another size");
  const auto like = [](const Tensor& x) { return torch::stable::new_empty(x, x.sizes()); };
  std::tuple<Tensor, Tensor, Tensor, Tensor> out{like(tensors.mean), like(tensors.sigma), like(tensors.rho),
                                                 like(tensors.color)};
  const auto data = [](const Tensor& x) { return static_cast<float*>(x.data_ptr()); };
  gsr::cpu::backward(tensors.scene, make_frame(height, width, top, left, window_x, window_y, eps),
                     SceneTensors::data(pixels), torch_threads(tensors.scene.count / kGaussiansPerThread),
                     {data(std::get<0>(out)), data(std::get<1>(out)), data(std::get<2>(out)), data(std::get<3>(out))});
  return out;
}

// With fewer output values per thread, waking another thread costs more than it saves.
constexpr int64_t kResampledPerThread = 1 << 14;

gsr::cpu::Taps taps_of(const Tensor& index, const Tensor& weight, int64_t limit) {
  STD_TORCH_CHECK(index.dim() == 2 && weight.dim() == 2 && index.size(0) == weight.size(0) &&
                      index.size(1) == weight.size(1) && index.size(1) > 0,
                  "gsr::resample: taps need indices and weights of the same shape [size, taps]");
  const auto* at = static_cast<const int64_t*>(index.data_ptr());
  STD_TORCH_CHECK(std::all_of(at, at + index.numel(), [limit](int64_t i) { return 0 <= i && i < limit; }),
                  "gsr::resample: a tap lies outside the source");
  return {at, SceneTensors::data(weight), index.size(0), static_cast<int>(index.size(1))};
}

Tensor resample(const Tensor& planes, const Tensor& index_y, const Tensor& weight_y, const Tensor& index_x,
                const Tensor& weight_x) {
  using torch::headeronly::ScalarType;
  STD_TORCH_CHECK(planes.dim() == 3 && planes.stride(2) == 1 && planes.scalar_type() == ScalarType::Float,
                  "gsr::resample takes float32 planes [P, h, w] with contiguous rows");
  for (const Tensor* taps : {&index_y, &weight_y, &index_x, &weight_x})
    STD_TORCH_CHECK(taps->is_contiguous(), "gsr::resample takes contiguous taps");
  STD_TORCH_CHECK(index_y.scalar_type() == ScalarType::Long && index_x.scalar_type() == ScalarType::Long &&
                      weight_y.scalar_type() == ScalarType::Float && weight_x.scalar_type() == ScalarType::Float,
                  "gsr::resample takes int64 indices and float32 weights");
  const gsr::cpu::Taps y = taps_of(index_y, weight_y, planes.size(1)), x = taps_of(index_x, weight_x, planes.size(2));
  const gsr::cpu::Source source = {SceneTensors::data(planes), planes.size(0), planes.stride(0), planes.stride(1),
                                   static_cast<int>(planes.size(2))};
  Tensor out = torch::stable::new_empty(planes, {source.planes, y.size, x.size});
  gsr::cpu::resample(source, y, x, torch_threads(source.planes * y.size * x.size / kResampledPerThread),
                     static_cast<float*>(out.data_ptr()));
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(gsr, CPU, library) {
  library.impl("splat", TORCH_BOX(&splat));
  library.impl("splat_backward", TORCH_BOX(&splat_backward));
  library.impl("resample", TORCH_BOX(&resample));
}
