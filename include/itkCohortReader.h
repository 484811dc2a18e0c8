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
#ifndef itkCohortReader_h
#define itkCohortReader_h

#include "GliomaGradingExport.h"
#include "itkCohortCase.h"
#include "itkGliomaGradingCompat.h"

#include "itkObject.h"
#include "itkObjectFactory.h"

#include <string>
#include <vector>

namespace itk
{
/** \class CohortReader
 * \brief Reads the cases of a cohort and lists everything that is wrong with it at once.
 *
 * A cohort is a COHORT.csv with the columns case,t1,t1c,t2,flair[,brain_mask][,seg][,grade][,site][,set] (others are
 * ignored, paths are relative to the file), or a folder in the layout of BRATS 2017: HGG/NAME/ and LGG/NAME/ with
 * NAME_t1.nii.gz, NAME_t1ce.nii.gz, NAME_t2.nii.gz, NAME_flair.nii.gz and NAME_seg.nii.gz (or .nii); its site is the
 * word after the first underscore (2013, CBICA, TCIA).
 *
 * SplitFile says which set a case belongs to, in the form of brats2017_subjects_sets.py of Pereira et al. 2018:
 * `'Training'`, `'Validation'` or `'Test'` followed by the lists `'HGG': [...]` and `'LGG': [...]`. It is read as text
 * and never executed. A number of a year in a name's beginning (Brats17_, Brats18_) does not matter.
 *
 * Nothing throws: what is wrong is in GetProblems(), one sentence each.
 * \ingroup GliomaGrading
 */
class GliomaGrading_EXPORT CohortReader : public Object
{
public:
  ITK_DISALLOW_COPY_AND_MOVE(CohortReader);

  using Self = CohortReader;
  using Superclass = Object;
  using Pointer = SmartPointer<Self>;
  using ConstPointer = SmartPointer<const Self>;

  itkNewMacro(Self);
  itkOverrideGetNameOfClassMacro(CohortReader);

  /** COHORT.csv, or a folder in BRATS 2017's layout. Default: none. */
  itkSetStringMacro(Path);
  itkGetStringMacro(Path);
  /** The sets of the cases. Default: none, the column set says it. */
  itkSetStringMacro(SplitFile);
  itkGetStringMacro(SplitFile);

  /** Cases, and sites with all of their cases, whose own problems (a missing file, a grade that is none) are not told:
   * they are left out afterwards. Default: none. */
  void
  SetLeftOut(const std::vector<std::string> & cases, const std::vector<std::string> & sites)
  {
    m_LeftOutCases = cases;
    m_LeftOutSites = sites;
  }

  /** Reads tables, folders and names; no image is opened. */
  void
  Read();

  const std::vector<CohortCase> &
  GetCases() const
  {
    return m_Cases;
  }
  const std::vector<std::string> &
  GetProblems() const
  {
    return m_Problems;
  }
  /** What a user should know that is not wrong: cases of the split that are not there. */
  const std::vector<std::string> &
  GetNotes() const
  {
    return m_Notes;
  }

  /** Reads the files of a case and tells what is wrong: one that is cut off or damaged or cannot be read, a grid that
   * is not that of T1 (more than \a tolerance of a voxel, or in a direction cosine), voxels that are not finite, a mask
   * without tumour or with values below 0. A sequence that is a folder (DICOM) is left to who reads it. */
  static std::vector<std::string>
  FindImageProblems(const CohortCase & cohortCase, double tolerance = 1e-3);

  /** What occurs twice in cases of one cohort or several: a name, a patient (Brats17_X is Brats18_X), the file of a T1,
   * links followed. */
  static std::vector<std::string>
  FindRepetitions(const std::vector<CohortCase> & cases);

  /** The name of a case without the year of its challenge: Brats17_TCIA_105_1 and Brats18_TCIA_105_1 are one patient.
   */
  static std::string
  PatientOf(const std::string & name);

  /** Letters, digits, '.', '_' and '-', and not dots alone: safe as the name of a folder. */
  static bool
  IsPlainName(const std::string & name);

  /** Splits one line of a CSV file; fields may be quoted. */
  static std::vector<std::string>
  SplitLine(const std::string & line);

protected:
  CohortReader() = default;
  ~CohortReader() override = default;
  void
  PrintSelf(std::ostream & os, Indent indent) const override;

private:
  void
  ReadTable();
  void
  ReadFolder();
  void
  ApplySplit();
  /** Tells what is wrong with one case, unless it is left out. */
  void
  AddProblemsOf(const CohortCase & cohortCase, const std::vector<std::string> & problems);

  std::string              m_Path;
  std::string              m_SplitFile;
  std::vector<CohortCase>  m_Cases;
  std::vector<std::string> m_Problems;
  std::vector<std::string> m_Notes;
  std::vector<std::string> m_LeftOutCases;
  std::vector<std::string> m_LeftOutSites;
};
} // namespace itk

#endif // itkCohortReader_h
