/*=========================================================================
 *
 *  Copyright NumFOCUS
 *
 *  Licensed under the Apache License, Version 2.0 (the "License");
 *  you may not use this file except in compliance with the License.
 *  You may obtain a copy of the License at
 *
 *         https://www.apache.org/licenses/LICENSE-2.0.txt
 *
 *  Unless required by applicable law or agreed to in writing, software
 *  distributed under the License is distributed on an "AS IS" BASIS,
 *  WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
 *  See the License for the specific language governing permissions and
 *  limitations under the License.
 *
 *=========================================================================*/
#include "ModelBackend.h"

#include "ExplanationRules.h"

#include "itkMacro.h"

#include <torch/csrc/jit/frontend/tracer.h>
#include <torch/csrc/jit/ir/alias_analysis.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/runtime/interpreter.h>
#include <torch/library.h>
#include <torch/script.h>

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <set>
#include <sstream>
#include <stdexcept>

namespace itk
{
namespace
{
// What the two operators in an edited graph call. It belongs to one run, whose graph hands its address from node to
// node; a second copy of this library in the process registers nothing and is called through its own table.
class RunOfGraph
{
public:
  virtual torch::Tensor
  Tap(const torch::Tensor & x, int64_t call) = 0;
  virtual torch::Tensor
  ReLU(const torch::Tensor & x, bool inPlace) = 0;

protected:
  ~RunOfGraph() = default;
};

constexpr char operatorNamespace[] = "gliomagrading_v1";

torch::Tensor
TapOperator(const torch::Tensor & x, int64_t run, int64_t call)
{
  return reinterpret_cast<RunOfGraph *>(run)->Tap(x, call);
}

torch::Tensor
ReLUOperator(const torch::Tensor & x, int64_t run, bool inPlace)
{
  return reinterpret_cast<RunOfGraph *>(run)->ReLU(x, inPlace);
}

/** Registers the operators of edited graphs unless the process has them already. */
void
RegisterOperatorsOnce()
{
  static std::once_flag once;
  std::call_once(once, [] {
    const std::string prefix = std::string(operatorNamespace) + "::";
    if (c10::Dispatcher::singleton().findSchema({ prefix + "tap", "" }).has_value())
    {
      return;
    }
    static torch::Library library(torch::Library::FRAGMENT, operatorNamespace, std::nullopt, __FILE__, __LINE__);
    library.def("tap(Tensor x, int run, int call) -> Tensor",
                torch::dispatch(c10::DispatchKey::CompositeImplicitAutograd, TORCH_FN(TapOperator)));
    // The schema says that x may be written to, so that no pass moves a use of x across the call.
    library.def("relu(Tensor(a!) x, int run, bool inplace) -> Tensor(a!)",
                torch::dispatch(c10::DispatchKey::CompositeImplicitAutograd, TORCH_FN(ReLUOperator)));
  });
}

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

/** Path of a submodule from the chain of attributes that leads to it; empty: the module itself; false: not from it. */
bool
PathOfModule(const Value * value, const Value * self, std::string & path)
{
  path.clear();
  while (value != self)
  {
    const Node * node = value->node();
    if (node->kind() != c10::prim::GetAttr)
    {
      return false;
    }
    path = node->s(c10::attr::name) + (path.empty() ? "" : "." + path);
    value = node->input(0);
  }
  return true;
}

/** forward, or what tracing calls a module's further calls: forward1, forward2 ... */
bool
IsForward(const std::string & method)
{
  return method.rfind("forward", 0) == 0 &&
         std::all_of(method.begin() + 7, method.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/** A copy of forward's graph in which every call of a submodule is followed by a tap, everything is inlined, and every
 * ReLU is ours. */
struct EditedGraph
{
  std::shared_ptr<Graph>   Edited;
  Value *                  Run{ nullptr };
  std::vector<std::string> Calls;            // name of the layer that a tap follows
  std::vector<std::string> OtherActivations; // each node with its occurrence and place
  std::set<std::string>    NotInlined;

  std::map<const Node *, std::string> Places; // path of the submodule that a node was inlined from

  Node *
  Insert(Node * after, const char * name, std::vector<Value *> inputs)
  {
    Node * node = Edited->create(c10::Symbol::fromQualString(std::string(operatorNamespace) + "::" + name), inputs);
    node->insertAfter(after);
    return node;
  }

  Value *
  Constant(Node * before, const c10::IValue & value)
  {
    const torch::jit::WithInsertPoint at(before);
    return Edited->insertConstant(value);
  }

  void
  TapAfter(Node * call, const std::string & layer)
  {
    Value * result = call->output();
    Value * number = Constant(call, static_cast<int64_t>(Calls.size()));
    Node *  tap = Insert(call, "tap", { result, Run, number });
    tap->output()->setType(result->type());
    result->replaceAllUsesAfterNodeWith(tap, tap->output());
    Calls.push_back(layer);
  }

  void
  InlineCalls(Block * block)
  {
    for (auto it = block->nodes().begin(); it != block->nodes().end();)
    {
      Node * node = *it;
      if (node->kind() == c10::prim::CallMethod)
      {
        const auto                  type = node->input(0)->type()->cast<c10::ClassType>();
        torch::jit::Function *      method = type ? type->findMethod(node->s(c10::attr::name)) : nullptr;
        torch::jit::GraphFunction * graph = method ? torch::jit::tryToGraphFunction(*method) : nullptr;
        std::string                 path;
        if (graph != nullptr)
        {
          const bool isOfModule =
            type->is_module() && PathOfModule(node->input(0), Edited->inputs()[0], path) && !path.empty();
          if (isOfModule && IsForward(node->s(c10::attr::name)) && node->outputs().size() == 1 &&
              node->output()->type()->isSubtypeOf(*c10::TensorType::get()))
          {
            TapAfter(node, path);
          }
          const Node * const after = node->next();
          it = Replace(node, graph);
          for (auto inlined = it; isOfModule && *inlined != after; ++inlined)
          {
            Places[*inlined] = path;
          }
          continue;
        }
        NotInlined.insert(node->s(c10::attr::name));
      }
      else if (node->kind() == c10::prim::CallFunction)
      {
        const auto                  type = node->input(0)->type()->cast<c10::FunctionType>();
        torch::jit::GraphFunction * graph = type ? torch::jit::tryToGraphFunction(*type->function()) : nullptr;
        if (graph != nullptr)
        {
          node->removeInput(0);
          it = Replace(node, graph);
          continue;
        }
        NotInlined.insert("a function");
      }
      else if (node->kind() == c10::prim::fork || node->kind() == c10::prim::awaitable ||
               node->kind() == c10::prim::PythonOp)
      {
        NotInlined.insert(node->kind().toQualString());
      }
      for (Block * inner : node->blocks())
      {
        InlineCalls(inner);
      }
      ++it;
    }
  }

  /** Puts the callee's body in place of a call; gives the first node of it. */
  torch::jit::graph_node_list_iterator
  Replace(Node * call, torch::jit::GraphFunction * callee)
  {
    Node * before = call->prev();
    torch::jit::inlineCallTo(call, callee, callee->graph().get());
    auto it = before->iterator();
    return ++it;
  }

  void
  ReplaceReLUs(Block * block)
  {
    for (auto it = block->nodes().begin(); it != block->nodes().end(); ++it)
    {
      Node * node = *it;
      for (Block * inner : node->blocks())
      {
        ReplaceReLUs(inner);
      }
      const std::string name = node->kind().toQualString();
      if (name.find(operatorNamespace) == 0)
      {
        continue;
      }
      if (node->kind() == c10::aten::relu || node->kind() == c10::aten::relu_)
      {
        Value * inPlace = Constant(node, node->kind() == c10::aten::relu_);
        Node *  ours = Insert(node, "relu", { node->input(0), Run, inPlace });
        ours->output()->setType(node->output()->type());
        node->output()->replaceAllUsesWith(ours->output());
        it.destroyCurrent();
      }
      else if (IsOtherActivation(node, name))
      {
        const auto isSame = [&name](const std::string & other) { return other.rfind(name + '#', 0) == 0; };
        const auto before = std::count_if(OtherActivations.begin(), OtherActivations.end(), isSame);
        OtherActivations.push_back(name + '#' + std::to_string(before + 1) + PlaceOf(node));
      }
    }
  }

  /** " in " and the path of the submodule whose code holds a node; empty at the top. */
  std::string
  PlaceOf(const Node * node) const
  {
    for (; node != nullptr; node = node->owningBlock()->owningNode())
    {
      const auto found = Places.find(node);
      if (found != Places.end())
      {
        return " in " + found->second;
      }
    }
    return {};
  }

  static bool
  IsOtherActivation(const Node * node, std::string name)
  {
    if (node->kind().is_prim() || name.empty())
    {
      return false;
    }
    if (name.back() == '_')
    {
      name.pop_back();
    }
    static const std::set<std::string> others{
      "aten::elu",       "aten::selu",     "aten::celu",        "aten::silu",       "aten::gelu",
      "aten::mish",      "aten::softplus", "aten::hardtanh",    "aten::hardswish",  "aten::hardsigmoid",
      "aten::threshold", "aten::tanh",     "aten::clamp_min",   "aten::clamp",      "aten::maximum",
      "aten::glu",       "aten::sigmoid",  "aten::log_sigmoid", "aten::hardshrink", "aten::softshrink"
    };
    // A sigmoid at the very end gives the score; within, it is a gate or half of a swish.
    const bool isLast = name == "aten::sigmoid" && node->output()->uses().size() == 1 &&
                        node->output()->uses()[0].user->kind() == c10::prim::Return;
    return (others.count(name) > 0 && !isLast) || name.find("relu") != std::string::npos;
  }

  /** Operators of a graph without submodules (a frozen one) that a map can be made of. */
  void
  TapOperators(Block * block, std::map<std::string, int> & seen)
  {
    static const std::set<std::string> mapped{
      "conv3d", "_convolution", "convolution", "batch_norm", "instance_norm",       "group_norm",
      "add",    "cat",          "max_pool3d",  "avg_pool3d", "adaptive_avg_pool3d", "relu"
    };
    std::vector<Node *> nodes(block->nodes().begin(), block->nodes().end());
    for (Node * node : nodes)
    {
      for (Block * inner : node->blocks())
      {
        TapOperators(inner, seen);
      }
      std::string name = node->kind().toUnqualString();
      if (!name.empty() && name.back() == '_')
      {
        name.pop_back();
      }
      if (mapped.count(name) > 0 && node->outputs().size() == 1 &&
          node->output()->type()->isSubtypeOf(*c10::TensorType::get()))
      {
        TapAfter(node, name + "#" + std::to_string(++seen[name]));
      }
    }
  }
};

/** The first tensor of what a graph returns. */
torch::Tensor
FirstTensor(const c10::IValue & value)
{
  if (value.isTensor())
  {
    return value.toTensor();
  }
  if (value.isTuple())
  {
    for (const c10::IValue & element : value.toTupleRef().elements())
    {
      if (element.isTensor())
      {
        return element.toTensor();
      }
    }
  }
  else if (value.isTensorList() && !value.toTensorList().empty())
  {
    return value.toTensorList().get(0);
  }
  else if (value.isGenericDict())
  {
    for (const auto & item : value.toGenericDict())
    {
      if (item.value().isTensor())
      {
        return item.value().toTensor();
      }
    }
  }
  // Whoever called adds the file, the input and the device.
  throw std::runtime_error("The model returns " + value.tagKind() +
                           "; a tensor, or a tuple, list or dictionary of tensors is needed");
}

class RunOfBackend final : public RunOfGraph
{
public:
  RunOfBackend(const std::vector<std::string> & calls,
               const std::vector<std::string> & layers,
               std::shared_ptr<const bool>      guidedSwitch)
    : m_Calls(calls)
    , m_Layers(layers)
    , m_GuidedSwitch(std::move(guidedSwitch))
  {}
  virtual ~RunOfBackend() = default;

  torch::Tensor
  Tap(const torch::Tensor & x, int64_t call) override
  {
    const std::string & layer = m_Calls.at(static_cast<std::size_t>(call));
    const int           occurrence = ++m_Occurrences[layer];
    const std::string   name = occurrence == 1 ? layer : layer + "#" + std::to_string(occurrence);
    if (std::find(m_Layers.begin(), m_Layers.end(), name) == m_Layers.end())
    {
      return x;
    }
    // Copies on both sides: what the graph writes in place must not reach the activation.
    const torch::Tensor activation = TappedActivation(x.clone());
    Trace.Activations.emplace_back(name, activation);
    return activation.clone();
  }

  torch::Tensor
  ReLU(const torch::Tensor & x, bool inPlace) override
  {
    ++Trace.ExecutedReLUs;
    torch::Tensor y = GuidedReLU(x, m_GuidedSwitch);
    Trace.GuidedReLUs += m_GuidedSwitch ? 1U : 0U;
    // copy_ keeps what other names of x see, and its gradient passes through the guided result.
    return inPlace ? torch::Tensor(x).copy_(y) : y;
  }

  ModelBackend::TracedRun Trace;

private:
  const std::vector<std::string> & m_Calls;
  const std::vector<std::string> & m_Layers;
  std::shared_ptr<const bool>      m_GuidedSwitch;
  std::map<std::string, int>       m_Occurrences;
};

class TorchScriptBackend : public ModelBackend
{
public:
  TorchScriptBackend(const TorchModelManifest & manifest,
                     const std::string &        file,
                     const torch::Device &      device,
                     bool                       bfloat16)
    : m_File(file)
    , m_Device(device)
    , m_Activation(manifest.OutputActivation)
    , m_Type(bfloat16 ? torch::kBFloat16 : torch::kFloat)
  {
    RegisterOperatorsOnce();
    try
    {
      m_Module = torch::jit::load(file, device);
      m_Module.eval();
      for (torch::Tensor parameter : m_Module.parameters())
      {
        m_Parameters += static_cast<std::size_t>(parameter.numel());
        parameter.requires_grad_(false);
        if (parameter.dim() == 5)
        {
          // As the interleaved input lies, so that no convolution turns either.
          parameter.set_data(parameter.contiguous(torch::MemoryFormat::ChannelsLast3d));
        }
      }
      if (bfloat16)
      {
        m_Module.to(torch::kBFloat16);
      }
      Prepare();
    }
    catch (const c10::Error & error)
    {
      itkGenericExceptionMacro("The TorchScript model '" << file << "' cannot be loaded on " << device.str() << ": "
                                                         << error.what_without_backtrace());
    }
  }

  torch::Tensor
  Forward(const torch::Tensor & input, const BetweenLayers &) const override
  {
    return Guarded(input, [&] {
      const torch::NoGradGuard noGradient;
      torch::Tensor            x = input.to(m_Device, m_Type);
      if (m_WritesToInput && x.is_alias_of(input))
      {
        x = x.clone(torch::MemoryFormat::Preserve);
      }
      torch::jit::Stack stack;
      if (m_PlainTakesSelf)
      {
        stack.emplace_back(m_Plain);
      }
      stack.emplace_back(x);
      torch::jit::InterpreterState(m_PlainCode).run(stack);
      const torch::Tensor output = FirstTensor(stack.back()).to(torch::kFloat);
      return output.is_alias_of(input) ? output.clone() : output;
    });
  }

  TracedRun
  ForwardTraced(const torch::Tensor &            input,
                const std::vector<std::string> & layers,
                std::shared_ptr<const bool>      guidedSwitch,
                const BetweenLayers &) const override
  {
    if (m_Type != torch::kFloat)
    {
      itkGenericExceptionMacro("Explanations need float32; load the model '" << m_File << "' with that precision");
    }
    for (const std::string & layer : layers)
    {
      const std::string base = m_Operators ? layer : layer.substr(0, layer.find('#'));
      if (std::find(m_Edited.Calls.begin(), m_Edited.Calls.end(), base) == m_Edited.Calls.end())
      {
        std::ostringstream names;
        for (const std::string & name : LayerNames())
        {
          names << ' ' << name;
        }
        itkGenericExceptionMacro("The model '" << m_File << "' has no layer '" << layer << "'; it has" << names.str());
      }
    }
    RunOfBackend run(m_Edited.Calls, layers, guidedSwitch);
    return Guarded(input, [&] {
      torch::jit::Stack stack;
      stack.emplace_back(m_Module._ivalue());
      // A copy: the graph may write to its input, which is the user's image or a leaf of the gradient.
      stack.emplace_back(input.to(m_Device).clone());
      stack.emplace_back(static_cast<int64_t>(reinterpret_cast<intptr_t>(static_cast<RunOfGraph *>(&run))));
      torch::jit::InterpreterState(m_EditedCode).run(stack);
      torch::Tensor output = FirstTensor(stack.back());
      if (m_Activation == "softmax" && !m_SoftmaxRemoved)
      {
        output = output.log(); // the same softmax, up to a constant of the logits
      }
      if (output.dim() == 5 && output.size(2) == 1 && output.size(3) == 1 && output.size(4) == 1)
      {
        output = output.flatten(1);
      }
      run.Trace.Logits = output;
      return run.Trace;
    });
  }

  std::vector<std::string>
  LayerNames() const override
  {
    std::vector<std::string>   names;
    std::map<std::string, int> seen;
    for (const std::string & call : m_Edited.Calls)
    {
      const int occurrence = ++seen[call];
      names.push_back(occurrence == 1 ? call : call + "#" + std::to_string(occurrence));
    }
    return names;
  }

  std::size_t
  NumberOfParameters() const override
  {
    return m_Parameters;
  }

  std::vector<std::string>
  OtherActivations() const override
  {
    std::vector<std::string> others = m_Edited.OtherActivations;
    others.insert(others.end(), m_Edited.NotInlined.begin(), m_Edited.NotInlined.end());
    return others;
  }

private:
  void
  Prepare()
  {
    const std::shared_ptr<Graph> original = m_Module.get_method("forward").graph();
    if (original->inputs().size() != 2)
    {
      itkGenericExceptionMacro("forward of '" << m_File << "' takes " << original->inputs().size() - 1
                                              << " inputs; one tensor [N, C, z, y, x] is needed");
    }

    m_Edited.Edited = original->copy();
    // Our operators in somebody's file would call whatever address it says.
    m_Edited.Run = m_Edited.Edited->addInput("run");
    m_Edited.Run->setType(c10::IntType::get());
    m_Edited.InlineCalls(m_Edited.Edited->block());
    if (m_Edited.Calls.empty())
    {
      std::map<std::string, int> seen;
      m_Edited.TapOperators(m_Edited.Edited->block(), seen);
      m_Operators = true;
    }
    RefuseForeignUse(m_Edited.Edited->block());
    m_Edited.ReplaceReLUs(m_Edited.Edited->block());
    Node * last = m_Edited.Edited->outputs()[0]->node();
    if (m_Activation == "softmax" && last->kind() == c10::aten::softmax)
    {
      m_Edited.Edited->block()->replaceOutput(0, last->input(0));
      m_SoftmaxRemoved = true;
    }
    m_EditedCode = torch::jit::Code(m_Edited.Edited, "forward");

    std::shared_ptr<Graph> plain = original->copy();
    m_Plain = m_Module._ivalue();
    try
    {
      const torch::jit::Module     frozen = torch::jit::freeze(m_Module);
      const std::shared_ptr<Graph> graph = frozen.get_method("forward").graph()->copy();
      plain = graph;
      m_Plain = frozen._ivalue();
    }
    catch (const std::exception &)
    {
      // Some graphs (attributes that change) cannot be frozen; they run as they are.
    }
    torch::jit::Inline(*plain);
    if (m_Type == torch::kBFloat16)
    {
      KeepStridesInFloat32(*plain, plain->block());
    }
    m_PlainTakesSelf = plain->inputs().size() == 2;
    const torch::jit::AliasDb aliases(plain);
    m_WritesToInput = aliases.hasWriters(plain->inputs().back());
    m_PlainCode = torch::jit::Code(plain, "forward");
  }

  void
  RefuseForeignUse(Block * block) const
  {
    for (Node * node : block->nodes())
    {
      for (Block * inner : node->blocks())
      {
        RefuseForeignUse(inner);
      }
      if (std::string(node->kind().toQualString()).find(operatorNamespace) == 0 &&
          (node->inputs().size() != 3 || node->input(1) != m_Edited.Run))
      {
        itkGenericExceptionMacro("The model '" << m_File << "' calls an operator that belongs to this module");
      }
    }
  }

  /** Several versions of torch compute strided convolutions in bfloat16 wrongly where the output is one voxel wide:
   * those run in float32. */
  void
  KeepStridesInFloat32(Graph & graph, Block * block) const
  {
    const std::vector<Node *> nodes(block->nodes().begin(), block->nodes().end());
    for (Node * node : nodes)
    {
      for (Block * inner : node->blocks())
      {
        KeepStridesInFloat32(graph, inner);
      }
      const std::string name = node->kind().toUnqualString();
      if (name != "conv3d" && name != "_convolution" && name != "convolution")
      {
        continue;
      }
      const std::optional<c10::IValue> stride = torch::jit::toIValue(node->input(3));
      const std::vector<int64_t>       steps =
        stride && stride->isIntList() ? stride->toIntVector() : std::vector<int64_t>{ 0 };
      if (std::all_of(steps.begin(), steps.end(), [](int64_t step) { return step == 1; }))
      {
        continue;
      }
      const torch::jit::WithInsertPoint at(node);
      for (std::size_t operand = 0; operand < 3; ++operand)
      {
        if (!node->input(operand)->mustBeNone())
        {
          node->replaceInput(
            operand, graph.insert(c10::aten::to, { node->input(operand), static_cast<int64_t>(torch::kFloat) }));
        }
      }
      node->output()->setType(c10::TensorType::get());
      const torch::jit::WithInsertPoint after(node->next());
      Value * back = graph.insert(c10::aten::to, { node->output(), static_cast<int64_t>(torch::kBFloat16) });
      node->output()->replaceAllUsesAfterNodeWith(back->node(), back);
    }
  }

  template <typename TFunction>
  auto
  Guarded(const torch::Tensor & input, const TFunction & function) const -> decltype(function())
  {
    std::string message;
    try
    {
      return function();
    }
    catch (const ExceptionObject &)
    {
      throw;
    }
    catch (const c10::Error & error)
    {
      message = error.what_without_backtrace();
    }
    catch (const std::exception & error)
    {
      message = error.what();
    }
    itkGenericExceptionMacro("The model '" << m_File << "' failed on " << input.size(1) << " channels, tensor "
                                           << input.sizes() << ", device " << m_Device.str() << ": " << message);
  }

  std::string        m_File;
  torch::Device      m_Device;
  std::string        m_Activation;
  torch::ScalarType  m_Type;
  std::size_t        m_Parameters{ 0 };
  torch::jit::Module m_Module;
  EditedGraph        m_Edited;
  torch::jit::Code   m_EditedCode;
  bool               m_Operators{ false }; // a graph without layers: its operators are named
  bool               m_SoftmaxRemoved{ false };
  c10::IValue        m_Plain;
  torch::jit::Code   m_PlainCode;
  bool               m_PlainTakesSelf{ true };
  bool               m_WritesToInput{ false };
};
} // namespace

std::shared_ptr<ModelBackend>
MakeTorchScriptBackend(const TorchModelManifest & manifest,
                       const std::string &        file,
                       const torch::Device &      device,
                       bool                       bfloat16)
{
  return std::make_shared<TorchScriptBackend>(manifest, file, device, bfloat16);
}
} // namespace itk
