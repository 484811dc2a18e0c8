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
#ifndef PythonErrors_h
#define PythonErrors_h

#include <exception>
#include <stdexcept>
#include <string>

namespace gliomagrading
{
/** An image or a parameter that cannot be right: InputError in Python. */
class InputException : public std::runtime_error
{
public:
  using std::runtime_error::runtime_error;
};

/** A bundle or model that cannot be loaded, or contradicts what is asked: ModelError in Python. */
class ModelException : public std::runtime_error
{
public:
  using std::runtime_error::runtime_error;
};

/** Python knows the error already. */
class PythonErrorIsSet : public std::exception
{};

/** Called in a catch block: tells Python of the exception. */
void
RaiseInPython();
} // namespace gliomagrading

#endif // PythonErrors_h
