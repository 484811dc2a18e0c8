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
#include "PythonErrors.h"

#include <Python.h>

#include "TerminalText.h"
#include "itkMacro.h"

#include <new>

namespace gliomagrading
{
namespace
{
/** Raises a class of gliomagrading.errors. */
void
Raise(const char * name, const std::string & text)
{
  PyObject * const module = PyImport_ImportModule("gliomagrading.errors");
  if (module == nullptr)
  {
    return;
  }
  PyObject * const type = PyObject_GetAttrString(module, name);
  Py_DECREF(module);
  if (type != nullptr)
  {
    PyObject * const message = PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace");
    PyErr_SetObject(type, message);
    Py_XDECREF(message);
    Py_DECREF(type);
  }
}
} // namespace

void
RaiseInPython()
{
  try
  {
    throw;
  }
  catch (const PythonErrorIsSet &)
  {}
  catch (const InputException & error)
  {
    Raise("InputError", error.what());
  }
  catch (const ModelException & error)
  {
    Raise("ModelError", error.what());
  }
  catch (const std::bad_alloc &)
  {
    PyErr_SetString(PyExc_MemoryError, "There is not enough memory.");
  }
  catch (const itk::MemoryAllocationError & error)
  {
    PyErr_SetString(PyExc_MemoryError, glioma::WithoutOrigin(error).c_str());
  }
  catch (const itk::ProcessAborted & error)
  {
    Raise("Aborted", glioma::WithoutOrigin(error));
  }
  catch (const std::exception & error)
  {
    Raise("Error", glioma::WithoutOrigin(error));
  }
  catch (...)
  {
    Raise("Error", "An unknown C++ exception was thrown.");
  }
}
} // namespace gliomagrading
