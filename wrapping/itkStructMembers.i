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

// ITK's generator leaves out members that are variables: Set and Get, as of ITK's objects.
%define STRUCT_MEMBER(owner, type, name)
%extend owner {
  type Get##name() const { return $self->name; }
  void Set##name(const type & value) { $self->name = value; }
}
%enddef
%define STRUCT_ARRAY(owner, type, name)
%extend owner {
  std::vector<type> Get##name() const { return std::vector<type>($self->name.begin(), $self->name.end()); }
  void Set##name(const std::vector<type> & values)
  {
    if (values.size() != $self->name.size())
    {
      itkGenericExceptionMacro(#name " has " << values.size() << " elements instead of " << $self->name.size() << '.');
    }
    std::copy(values.begin(), values.end(), $self->name.begin());
  }
}
%enddef
