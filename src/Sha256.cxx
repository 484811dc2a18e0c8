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
#include "itkSha256.h"

#include "itkMacro.h"

#include <openssl/evp.h>

#include <fstream>
#include <memory>
#include <vector>

namespace itk
{
namespace
{
class Sha256Digest
{
public:
  Sha256Digest()
    : m_Context{ EVP_MD_CTX_new(), &EVP_MD_CTX_free }
  {
    if (!m_Context || EVP_DigestInit_ex(m_Context.get(), EVP_sha256(), nullptr) != 1)
    {
      itkGenericExceptionMacro("SHA-256 could not be started by libcrypto");
    }
  }

  void
  Update(const void * data, std::size_t bytes)
  {
    if (EVP_DigestUpdate(m_Context.get(), data, bytes) != 1)
    {
      itkGenericExceptionMacro("SHA-256 failed in libcrypto");
    }
  }

  std::string
  Finish()
  {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int  length = 0;
    if (EVP_DigestFinal_ex(m_Context.get(), digest, &length) != 1)
    {
      itkGenericExceptionMacro("SHA-256 failed in libcrypto");
    }
    static constexpr char digits[] = "0123456789abcdef";
    std::string           text;
    for (unsigned int i = 0; i < length; ++i)
    {
      text += digits[digest[i] >> 4];
      text += digits[digest[i] & 15];
    }
    return text;
  }

private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> m_Context;
};
} // namespace

std::string
Sha256OfFile(const std::string & path)
{
  std::ifstream file(path, std::ios::binary);
  if (!file)
  {
    itkGenericExceptionMacro("The file '" << path << "' cannot be opened for its SHA-256");
  }
  Sha256Digest      digest;
  std::vector<char> block(1 << 20);
  while (file)
  {
    file.read(block.data(), static_cast<std::streamsize>(block.size()));
    digest.Update(block.data(), static_cast<std::size_t>(file.gcount()));
  }
  if (file.bad())
  {
    itkGenericExceptionMacro("Reading '" << path << "' failed on the way to its SHA-256");
  }
  return digest.Finish();
}

std::string
Sha256OfMemory(const void * data, std::size_t bytes)
{
  Sha256Digest digest;
  digest.Update(data, bytes);
  return digest.Finish();
}
} // namespace itk
