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
#ifndef PhantomCohort_h
#define PhantomCohort_h

#include <cstdint>
#include <ostream>
#include <string>

namespace glioma
{

/** What `glioma synthesize` is asked for. */
struct SynthesizeOptions
{
  unsigned int  cases{ 10 };
  std::uint64_t seed{ 1 };

  /** Folder that gets COHORT.csv and one folder for each case. */
  std::string outputDirectory;

  /** Replace what is there already. */
  bool force{ false };

  /** Edge of a voxel in mm, 1 to 4. */
  double spacing{ 1.0 };

  /** Write the true fields and the white matter too. */
  bool truth{ false };

  /** Write an image of regions too. */
  bool regions{ false };

  /** Number of threads, 0: as many as there are processors. */
  unsigned int threads{ 0 };
};

/** Writes phantoms in the layout of BRATS, `<case>/<case>_{t1,t1ce,t2,flair,seg}.nii.gz`, and COHORT.csv.
 *
 * With the truth `<case>_{t1,t1ce,t2,flair}_log-field.nii.gz` and `<case>_white.nii.gz` too, with the regions
 * `<case>_regions.nii.gz` (PhantomRegion).
 * Each case appears complete or not at all. Throws itk::ExceptionObject with what to do when something is in the way.
 */
void
WritePhantomCohort(const SynthesizeOptions & options, std::ostream & progress);

} // namespace glioma

#endif // PhantomCohort_h
