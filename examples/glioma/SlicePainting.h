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
#ifndef SlicePainting_h
#define SlicePainting_h

#include "itkContinuousIndex.h"
#include "itkImage.h"
#include "itkRGBPixel.h"
#include "itkVectorImage.h"

#include <array>
#include <string>
#include <vector>

namespace glioma
{
using SliceImageType = itk::Image<float, 3>;
using SliceMaskType = itk::Image<unsigned char, 3>;
using SliceVectorImageType = itk::VectorImage<float, 3>;
using ColourType = std::array<double, 3>;

const ColourType whiteColour{ { 235, 235, 235 } };
const ColourType greyColour{ { 150, 150, 150 } };
const ColourType warningColour{ { 255, 190, 60 } };
const ColourType outlineColour{ { 60, 255, 120 } };

/** A picture that dots and text are drawn into. */
class Canvas
{
public:
  Canvas(int width, int height);

  void
  Dot(int x, int y, const ColourType & colour, double opacity = 1.0);

  void
  Text(int x, int y, const std::string & text, const ColourType & colour, int scale = 1);

  /** The picture as a PNG file has it. */
  std::string
  ToPng() const;

  /** Writes a PNG file; throws std::runtime_error where it finds no room. */
  void
  Write(const std::string & path) const;

private:
  using ImageType = itk::Image<itk::RGBPixel<unsigned char>, 2>;

  int                m_Width;
  int                m_Height;
  ImageType::Pointer m_Image;
};

/** The lines of a text, broken between words, each of at most so many characters (6 dots wide). */
std::vector<std::string>
WrappedText(const std::string & text, std::size_t characters);

enum class Plane
{
  Axial,
  Coronal,
  Sagittal
};

/** The slice of a volume that is drawn, and how: takes dots of its picture to indices.
 *
 * Slices are shown as radiologists see them: axial ones from the feet and coronal ones from the front, the patient's
 * right on the left; sagittal ones with the nose on the left. An oblique image is shown along its own axes that are
 * nearest to the patient's. */
struct SlicePlane
{
  Plane         Kind{ Plane::Axial };
  unsigned int  ColumnAxis{ 0 };
  unsigned int  RowAxis{ 1 };
  unsigned int  SliceAxis{ 2 };
  bool          FlipColumn{ false };
  bool          FlipRow{ false };
  itk::Index<3> Lower;
  itk::Index<3> Upper; // inclusive
  double        DotsPerMm{ 1.0 };
  double        ColumnSpacing{ 1.0 };
  double        RowSpacing{ 1.0 };
  int           Width{ 1 };
  int           Height{ 1 };

  /** Continuous index of a dot's centre. */
  itk::ContinuousIndex<double, 3>
  At(int column, int row) const;
};

/** The slice with the largest area of the tumour, or of the brain where there is no tumour; the longer side of the
 * brain's box gets \a side dots. */
SlicePlane
FindSlicePlane(Plane                     kind,
               const itk::ImageBase<3> & grid,
               const SliceMaskType *     brain,
               const SliceMaskType *     tumour,
               int                       side);

/** What the frames of an axial and a coronal slice of a grid hold: all that slices in these frames can show. */
itk::ImageRegion<3>
RegionOfFrames(const SlicePlane & axial, const SlicePlane & coronal);

/** The same frame around the slice through another place, which is an index of its grid. */
SlicePlane
Through(SlicePlane plane, const itk::Index<3> & place);

/** Grey levels of a sequence: quantiles of the brain. */
struct GreyWindow
{
  double Low{ 0.0 };
  double High{ 1.0 };
};
GreyWindow
FindGreyWindow(const SliceImageType * image, const SliceMaskType * brain, double lower = 0.01, double upper = 0.995);

/** Largest value of a map: the top of its colour scale. */
double
LargestValue(const SliceImageType * map);
/** What gets the full colour of guided backpropagation: a quantile of its magnitudes that are not 0. */
double
GuidedScale(const SliceVectorImageType * map);

/** Where a map is largest in a region; of several components, where the magnitude of one is. */
itk::Index<3>
FindPeak(const SliceImageType * map, const itk::ImageRegion<3> & region);
itk::Index<3>
FindPeak(const SliceVectorImageType * map, const itk::ImageRegion<3> & region);

/** Whether a map's colours can be seen on a slice: more than 5 % of \a scale, which has the full colour. */
bool
IsSeenOn(const SlicePlane & plane, const SliceImageType * map, double scale);
bool
IsSeenOn(const SlicePlane & plane, const SliceVectorImageType * map, unsigned int component, double scale);

/** Colour of 0 to 1: black through purple and orange to pale yellow, of rising brightness, also for the colour-blind.
 */
ColourType
HeatColour(double value);

/** Draws the grey levels of a sequence, black outside the brain. */
void
DrawSequence(Canvas &               canvas,
             int                    left,
             int                    top,
             const SlicePlane &     plane,
             const SliceImageType * image,
             const SliceMaskType *  brain,
             const GreyWindow &     window);
/** Draws a map above 0, over what is there. */
void
DrawHeat(Canvas & canvas, int left, int top, const SlicePlane & plane, const SliceImageType * map, double largest);
/** Draws one component with its sign, over what is there: red above 0, blue below. */
void
DrawSigned(Canvas &                     canvas,
           int                          left,
           int                          top,
           const SlicePlane &           plane,
           const SliceVectorImageType * map,
           unsigned int                 component,
           double                       scale);
void
DrawOutline(Canvas &              canvas,
            int                   left,
            int                   top,
            const SlicePlane &    plane,
            const SliceMaskType * mask,
            const ColourType &    colour,
            bool                  dotted);
/** Writes the patient's sides at the edges, with a dark rim. */
void
DrawSides(Canvas & canvas, int left, int top, const SlicePlane & plane);
} // namespace glioma

#endif // SlicePainting_h
