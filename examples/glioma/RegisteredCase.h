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
#ifndef RegisteredCase_h
#define RegisteredCase_h

#include "CaseReader.h"

#include "itkGliomaGradingCompat.h"
#include "itkVectorImage.h"
#include "itkVersorRigid3DTransform.h"

#include <array>
#include <functional>
#include <string>
#include <vector>

namespace glioma
{
/** Four sequences of one patient on grids of their own, brought into the space of one of them.
 *
 * The working grid covers the reference at a model's orientation and spacing: every sequence is resampled once, onto
 * it. Results come back from it to the grid of the reference and of each other sequence. */
class RegisteredCase
{
public:
  using VectorImageType = itk::VectorImage<float, 3>;
  using TransformType = itk::VersorRigid3DTransform<double>;

  /** What was found for a sequence; the reference has the identity. */
  struct Report
  {
    std::string                 Name;
    TransformType::ConstPointer Transform; // points of the reference to those of the sequence
    double                      InitialMetric{ 0.0 };
    double                      FinalMetric{ 0.0 };
    double                      Overlap{ 1.0 };
    double                      MeanDisplacement{ 0.0 };
  };

  /** Takes how far the registrations are, 0 to 1; false ends them with itk::ProcessAborted. Is called from several
   * threads, one at a time. */
  using ProgressFunctionType = std::function<bool(double)>;

  /** \a names and \a sequences belong together; \a brainMask is on the reference's grid and may be null. \a spacing 0
   * keeps the reference's. Throws, naming the sequence, where it cannot be registered. */
  RegisteredCase(const std::vector<std::string> &                names,
                 const std::vector<SequenceImageType::Pointer> & sequences,
                 std::size_t                                     reference,
                 const MaskImageType *                           brainMask,
                 const std::string &                             orientation,
                 const std::array<double, 3> &                   spacing,
                 const ProgressFunctionType &                    progress = nullptr);

  const std::vector<Report> &
  GetReports() const
  {
    return m_Reports;
  }
  std::size_t
  GetReference() const
  {
    return m_Reference;
  }

  /** A sequence on the working grid. */
  const SequenceImageType *
  GetSequence(std::size_t i) const
  {
    return m_Registered[i];
  }

  /** A mask of the reference's grid on the working grid: 1 where at least half of a voxel is inside. */
  MaskImageType::Pointer
  ToWorkingGrid(const MaskImageType * mask) const;

  /** An image of the working grid on the grid of sequence \a i. */
  SequenceImageType::Pointer
  ToSequence(const SequenceImageType * image, std::size_t i) const;
  VectorImageType::Pointer
  ToSequence(const VectorImageType * image, std::size_t i) const;

  /** Labels on the grid of sequence \a i: 1 where \a probability is above 0.5 there. What is above 0.5 on the working
   * grid without a label, such as a component that was too small, counts as 0.5. */
  MaskImageType::Pointer
  LabelsToSequence(const MaskImageType * labels, const SequenceImageType * probability, std::size_t i) const;

private:
  std::size_t                              m_Reference;
  std::vector<SequenceImageType::Pointer>  m_Original;
  std::vector<SequenceImageType::Pointer>  m_Registered;
  std::vector<TransformType::ConstPointer> m_ToReference; // points of a sequence to those of the reference
  SequenceImageType::Pointer               m_WorkingGrid;
  std::vector<Report>                      m_Reports;
};
} // namespace glioma

#endif // RegisteredCase_h
