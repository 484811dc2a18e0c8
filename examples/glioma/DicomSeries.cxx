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
#include "DicomSeries.h"

#include "DicomHeader.h"

#include "itkGDCMImageIO.h"
#include "itkGDCMSeriesFileNames.h"
#include "itkImageSeriesReader.h"
#include "itkMetaDataObject.h"
#include "itksys/SystemTools.hxx"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <locale>
#include <set>
#include <sstream>
#include <stdexcept>

namespace glioma
{
namespace
{
const char * const seriesInstanceUid = "0020|000e";
const char * const seriesDescription = "0008|103e";
const char * const imagePosition = "0020|0032";
const char * const imageOrientation = "0020|0037";
const char * const pixelSpacing = "0028|0030";
const char * const patientId = "0010|0020";
const char * const sopClass = "0008|0016";

/** ITK's warnings are off as long as it lives. */
class WithoutWarnings
{
public:
  WithoutWarnings() { itk::Object::SetGlobalWarningDisplay(false); }
  ~WithoutWarnings() { itk::Object::SetGlobalWarningDisplay(m_Before); }
  WithoutWarnings(const WithoutWarnings &) = delete;
  WithoutWarnings &
  operator=(const WithoutWarnings &) = delete;

private:
  bool m_Before{ itk::Object::GetGlobalWarningDisplay() };
};

std::string
ValueOf(const itk::MetaDataDictionary & dictionary, const std::string & key)
{
  std::string value;
  itk::ExposeMetaData<std::string>(dictionary, key, value);
  return WithoutDicomPadding(value);
}

/** Numbers of a DICOM text such as "1.0\0.0\0.0". */
template <std::size_t VNumber>
std::array<double, VNumber>
NumbersOf(std::string text, const std::string & key)
{
  std::replace(text.begin(), text.end(), '\\', ' ');
  std::istringstream stream(text);
  stream.imbue(std::locale::classic());
  std::array<double, VNumber> numbers;
  for (double & number : numbers)
  {
    if (!(stream >> number) || !std::isfinite(number))
    {
      throw std::runtime_error("a slice does not say where it lies (" + key +
                               "), as in a secondary capture; give the series of the scanner, or a file in another "
                               "format");
    }
  }
  return numbers;
}

/** What scanners write, without what could disturb a terminal. */
std::string
Printable(const std::string & text)
{
  std::string clean;
  for (const char character : text.substr(0, 64))
  {
    clean += character >= ' ' && character <= '~' ? character : '?';
  }
  return clean;
}

std::string
Describe(const std::vector<DicomSeries> & series)
{
  std::string text;
  for (const DicomSeries & each : series)
  {
    text += (text.empty() ? "" : ", ") + each.Name + " (" + std::to_string(each.Files.size()) +
            (each.Files.size() == 1 ? " file" : " files") +
            (each.Description.empty() ? "" : ", \"" + each.Description + '"') + ')';
  }
  return text;
}

/** "t1c" for "T1c", "brain-mask" for "the brain mask": the option that gives the image. */
std::string
OptionOf(const std::string & role)
{
  std::string option = role.rfind("the ", 0) == 0 ? role.substr(4) : role;
  for (char & character : option)
  {
    character = character == ' '                       ? '-'
                : character >= 'A' && character <= 'Z' ? static_cast<char>(character - 'A' + 'a')
                                                       : character;
  }
  return option;
}

std::string
BytesOf(const std::string & path)
{
  std::ifstream file(path, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
}

/** The first bytes of a file: most pixels begin there. */
std::string
StartOf(const std::string & path)
{
  std::ifstream file(path, std::ios::binary);
  std::string   start(65536, '\0');
  file.read(&start[0], static_cast<std::streamsize>(start.size()));
  start.resize(static_cast<std::size_t>(file.gcount()));
  return start;
}

bool
IsDicom(const std::string & path)
{
  std::ifstream file(path, std::ios::binary);
  std::string   mark(4, '\0');
  return file.seekg(128).read(&mark[0], 4) && mark == "DICM";
}

/** The bytes of a slice's pixels, by what its header says of rows, columns, samples, frames and bits. */
std::size_t
BytesOfPixels(const itk::MetaDataDictionary & dictionary)
{
  std::size_t bits = 1;
  for (const char * const key : { "0028|0010", "0028|0011", "0028|0002", "0028|0008", "0028|0100" })
  {
    const std::string text = ValueOf(dictionary, key);
    const std::size_t value = std::strtoul(text.c_str(), nullptr, 10);
    bits *= value == 0 ? 1 : value;
  }
  return (bits + 7) / 8;
}

/** True where DICOM's bytes end before the pixels do that they announce: older GDCM fills up in silence. Where 'bytes'
 * is given, pixels of another length are no slice's: a tag can stand by chance among what a scanner keeps for itself.
 */
bool
LacksPixels(const std::string & data, std::size_t bytes = 0)
{
  bool lacks = false;
  for (const bool isBigEndian : { false, true })
  {
    const std::string tag = isBigEndian ? std::string("\x7f\xe0\x00\x10", 4) : std::string("\xe0\x7f\x10\x00", 4);
    for (std::size_t place = data.find(tag); place != std::string::npos; place = data.find(tag, place + 1))
    {
      // The kind of value, OB or OW, and two zeros may stand between the tag and the length, which is even.
      const std::size_t head = data.compare(place + 4, 1, "O") == 0 ? 12 : 8;
      if (place + head > data.size())
      {
        lacks = true;
        continue;
      }
      std::size_t length = 0;
      for (std::size_t i = 0; i < 4; ++i)
      {
        length = length * 256 + static_cast<unsigned char>(data[place + head - (isBigEndian ? 4 - i : i + 1)]);
      }
      const bool isCompressed = length == 0xffffffff;
      if (bytes != 0 && !isCompressed && length != bytes && length != bytes + bytes % 2)
      {
        continue;
      }
      // Compressed: parts with a mark at their end.
      const bool isWhole = isCompressed
                             ? data.find(std::string("\xfe\xff\xdd\xe0\x00\x00\x00\x00", 8), place) != std::string::npos
                             : place + head + length <= data.size();
      if (isWhole && bytes != 0)
      {
        return false;
      }
      lacks = lacks || !isWhole;
    }
  }
  return lacks;
}

/** True where a UID, and not one that only begins as it does, stands in DICOM's bytes. */
bool
Names(const std::string & data, const std::string & uid)
{
  for (std::size_t place = data.find(uid); !uid.empty() && place != std::string::npos;
       place = data.find(uid, place + 1))
  {
    const std::string next = data.substr(place + uid.size(), 1);
    if (next.find_first_of("0123456789.") == std::string::npos)
    {
      return true;
    }
  }
  return false;
}

/** "im-#-#.dcm" for "IM-0002-0017.dcm": files of one shape are the slices of one series. */
std::string
ShapeOf(const std::filesystem::path & file)
{
  std::string shape;
  for (const char character : itksys::SystemTools::LowerCase(file.filename().string()))
  {
    const bool isDigit = character >= '0' && character <= '9';
    if (!isDigit || shape.empty() || shape.back() != '#')
    {
      shape += isDigit ? '#' : character;
    }
  }
  return shape;
}

/** The ending of a file's name where it says that the file is DICOM. */
std::string
DicomEndingOf(const std::filesystem::path & file)
{
  const std::string ending = itksys::SystemTools::LowerCase(file.extension().string());
  return ending == ".dcm" || ending == ".ima" || ending == ".dicom" ? ending : std::string();
}

std::string
NameOf(const std::string & file)
{
  return Printable(std::filesystem::path(file).filename().string());
}

/** Says in the series which file beside them is a slice that is lost, since GDCM does not list it. What is no slice, a
 * README or a DICOMDIR, may lie there. */
void
FindLostSlices(const std::string &                     folder,
               const std::set<std::filesystem::path> & listed,
               std::vector<DicomSeries> &              all)
{
  std::error_code                    ignored;
  std::vector<std::filesystem::path> beside;
  for (const auto & entry : std::filesystem::directory_iterator(folder, ignored))
  {
    const std::string name = entry.path().filename().string();
    // A link to nothing is as good as an empty file. Hidden ones are what macOS leaves on foreign disks.
    const bool isFile = entry.is_regular_file(ignored) || (entry.is_symlink(ignored) && !entry.exists(ignored));
    if (isFile && listed.count(entry.path().filename()) == 0 && name.front() != '.' && name != "DICOMDIR")
    {
      beside.push_back(entry.path());
    }
  }
  std::sort(beside.begin(), beside.end());
  for (const std::filesystem::path & path : beside)
  {
    const bool        isDicom = IsDicom(path.string());
    const std::string ending = DicomEndingOf(path);
    const std::string shape = ShapeOf(path);
    const bool        isShort = std::filesystem::file_size(path, ignored) < 132 || ignored;
    if (!isDicom && !isShort && ending.empty())
    {
      continue;
    }
    const std::string data = isDicom || isShort ? BytesOf(path.string()) : std::string();
    const DicomHeader header(data);
    for (DicomSeries & series : all)
    {
      bool isSlice = isDicom && LacksPixels(data) && Names(data, series.Uid);
      bool maybeSlice = false;
      if (!header.SeriesUid.empty())
      {
        isSlice = isSlice || (header.SeriesUid == series.Uid && !header.HasPixels &&
                              (header.IsCutOff || header.SopClass == series.SopClass));
      }
      else if (isDicom ? !header.HasPixels && (header.IsCutOff || header.SopClass == series.SopClass)
                       : !ending.empty() || data.find_first_not_of('\0') == std::string::npos)
      {
        // Nothing but its name says whose it is.
        maybeSlice = std::any_of(series.Files.begin(), series.Files.end(), [&](const std::string & file) {
          return (!ending.empty() && DicomEndingOf(file) == ending) || ShapeOf(file) == shape;
        });
      }
      if (series.Lost.empty() && isSlice)
      {
        series.Lost = "the file " + NameOf(path.string()) + " of it is cut off; get it again";
      }
      else if (series.Lost.empty() && maybeSlice)
      {
        series.Lost =
          "the file " + NameOf(path.string()) +
          " beside its slices is empty, cut off or no DICOM; get it again, or take it away if it is none of "
          "them";
      }
    }
  }
}

/** Debian's GDCM looks into every file, and ends the program where one is cut off before its pixels. */
void
RefuseWhatStopsGdcm(const std::string & folder)
{
  const auto isCutOff = [](const std::string & data) {
    const DicomHeader header(data);
    return header.IsOnlyMeta || (header.IsCutOff && !header.HasPixels);
  };
  std::error_code ignored;
  for (const auto & entry : std::filesystem::directory_iterator(folder, ignored))
  {
    const std::string path = entry.path().string();
    if (!entry.is_regular_file(ignored) || !IsDicom(path) || !isCutOff(StartOf(path)))
    {
      continue;
    }
    // GDCM reads some files whose parts have other lengths than they say.
    const std::string data = BytesOf(path);
    if (isCutOff(data) && data.find(std::string("\xe0\x7f\x10\x00", 4)) == std::string::npos)
    {
      throw std::runtime_error("The file " + NameOf(path) + " in the folder " + folder +
                               " is cut off before its pixels; get it again, or take it away.");
    }
  }
}

/** Where a slice lies. */
struct SlicePlace
{
  std::array<double, 3> Position;
  std::array<double, 6> Axes;
};

/** Where the frames of a file lie. Throws where they do not say so: what ITK then makes of them is a guess. */
std::vector<SlicePlace>
PlacesOfFrames(const DicomHeader & header, std::size_t numberOfFrames)
{
  std::vector<SlicePlace> places;
  for (const FramePlace & frame : header.Frames)
  {
    const std::string & position = frame.Position.empty() ? header.Shared.Position : frame.Position;
    const std::string & axes = frame.Orientation.empty() ? header.Shared.Orientation : frame.Orientation;
    if (position.empty() || axes.empty())
    {
      places.clear();
      break;
    }
    const auto isOneFor = [&](std::string FramePlace::* what) {
      const auto of = [&](const FramePlace & each) { return (each.*what).empty() ? header.Shared.*what : each.*what; };
      return of(frame) == of(header.Frames.front());
    };
    if (!isOneFor(&FramePlace::Spacing))
    {
      throw std::runtime_error("its frames have several pixel spacings; give a series of one");
    }
    // GDCM scales all frames alike.
    if (!isOneFor(&FramePlace::Slope) || !isOneFor(&FramePlace::Intercept))
    {
      throw std::runtime_error("its frames scale their values in several ways (0028|9145), which is not read reliably; "
                               "give a file in another format");
    }
    places.push_back({ NumbersOf<3>(position, imagePosition), NumbersOf<6>(axes, imageOrientation) });
  }
  if (places.size() != numberOfFrames)
  {
    throw std::runtime_error("it is one file of " + std::to_string(numberOfFrames) +
                             " frames that do not say where each lies (0020|9113), as in a secondary capture; give the "
                             "series of the scanner, or a file in another format");
  }
  return places;
}

/** Throws where files of one series are of several patients or pixel spacings. */
void
CheckSameForAll(const std::vector<std::string> & files, const std::vector<const itk::MetaDataDictionary *> & slices)
{
  const auto refuse = [&](std::size_t one, std::size_t other, const std::string & what) {
    return std::runtime_error("its files " + NameOf(files[one]) + " and " + NameOf(files[other]) + " " + what);
  };
  std::size_t patient = 0;
  for (std::size_t i = 0; i < slices.size(); ++i)
  {
    // Who they are is not told.
    const std::string id = ValueOf(*slices[i], patientId);
    const std::string before = ValueOf(*slices[patient], patientId);
    if (!id.empty() && !before.empty() && id != before)
    {
      throw refuse(patient, i, "are of two patients (0010|0020); give a series of one");
    }
    patient = before.empty() ? i : patient;
    const std::string spacing = ValueOf(*slices[i], pixelSpacing);
    const std::string first = ValueOf(*slices.front(), pixelSpacing);
    bool              isSame = spacing.empty() == first.empty();
    if (isSame && !spacing.empty())
    {
      const auto a = NumbersOf<2>(spacing, pixelSpacing);
      const auto b = NumbersOf<2>(first, pixelSpacing);
      isSame = std::abs(a[0] - b[0]) <= 1e-3 * std::abs(b[0]) && std::abs(a[1] - b[1]) <= 1e-3 * std::abs(b[1]);
    }
    if (!isSame)
    {
      throw refuse(0,
                   i,
                   "have the pixel spacings " + (first.empty() ? "none" : Printable(first)) + " and " +
                     (spacing.empty() ? "none" : Printable(spacing)) + " mm; give a series of one");
    }
  }
}

/** Throws where the slices, in their order, are not the equidistant slices of one volume. */
void
CheckSlices(const std::vector<SlicePlace> & slices)
{
  const std::array<double, 6>        axes = slices.front().Axes;
  const std::array<double, 3>        first = slices.front().Position;
  const std::array<double, 3>        normal{ { axes[1] * axes[5] - axes[2] * axes[4],
                                               axes[2] * axes[3] - axes[0] * axes[5],
                                               axes[0] * axes[4] - axes[1] * axes[3] } };
  std::vector<double>                heights;
  std::vector<std::array<double, 3>> offsets;
  for (const SlicePlace & slice : slices)
  {
    for (std::size_t i = 0; i < axes.size(); ++i)
    {
      if (!(std::abs(slice.Axes[i] - axes[i]) <= 1e-3))
      {
        throw std::runtime_error("its slices have several orientations, as those of a localizer; give another series");
      }
    }
    std::array<double, 3> offset = slice.Position;
    double                height = 0.0;
    for (std::size_t d = 0; d < 3; ++d)
    {
      offset[d] -= first[d];
      height += offset[d] * normal[d];
    }
    for (std::size_t d = 0; d < 3; ++d)
    {
      offset[d] -= height * normal[d];
    }
    heights.push_back(height);
    offsets.push_back(offset);
  }
  const double step = (heights.back() - heights.front()) / static_cast<double>(slices.size() - 1);
  for (std::size_t i = 1; i < slices.size(); ++i)
  {
    const double      gap = heights[i] - heights[i - 1];
    const std::string place = "between slices " + std::to_string(i) + " and " + std::to_string(i + 1) + " of " +
                              std::to_string(slices.size()) + " there are " + std::to_string(gap) + " mm, not " +
                              std::to_string(step);
    if (!(std::abs(gap) > 1e-3))
    {
      throw std::runtime_error("two of its slices lie at the same place (" + place +
                               "); give a series that holds each slice once");
    }
    if (!(std::abs(gap - step) <= 0.02 * std::abs(step)))
    {
      throw std::runtime_error("its slices are not equidistant (" + place +
                               "): is one missing, or are they in another order? Give the complete series");
    }
    for (std::size_t d = 0; d < 3; ++d)
    {
      if (!(std::abs(offsets[i][d]) <= 0.02 * std::abs(step)))
      {
        throw std::runtime_error("its slices are not stacked along their normal (slice " + std::to_string(i + 1) +
                                 " is off by " + std::to_string(offsets[i][d]) +
                                 " mm), as with a tilted gantry; resample the series to a file");
      }
    }
  }
}

/** The sides of a pixel down and along a row, in mm. Where nothing is said GDCM takes 1 mm. */
std::array<double, 2>
SidesOfPixel(const std::string & text)
{
  if (text.empty())
  {
    throw std::runtime_error("it does not say how large its pixels are (0028|0030); give the series of the scanner");
  }
  const std::array<double, 2> sides = NumbersOf<2>(text, pixelSpacing);
  if (!(sides[0] > 0.0 && sides[1] > 0.0))
  {
    throw std::runtime_error("its pixel spacing is " + Printable(text) + " mm; get it again");
  }
  return sides;
}

/** The grid of frames that CheckSlices() passed, from what they say themselves: GDCM may take 1 mm for their distance.
 */
void
PlaceFrames(itk::Image<float, 3> * image, const std::vector<SlicePlace> & places, const std::string & inPlane)
{
  itk::Vector<double, 3> row;
  itk::Vector<double, 3> column;
  itk::Vector<double, 3> way;
  itk::Point<double, 3>  origin;
  for (unsigned int d = 0; d < 3; ++d)
  {
    row[d] = places.front().Axes[d];
    column[d] = places.front().Axes[3 + d];
    way[d] = places.back().Position[d] - places.front().Position[d];
    origin[d] = places.front().Position[d];
  }
  row.Normalize();
  column.Normalize();
  itk::Vector<double, 3> normal = itk::CrossProduct(row, column);
  const double           height = way * normal;
  normal *= height < 0.0 ? -1.0 : 1.0;
  itk::Image<float, 3>::SpacingType spacing = image->GetSpacing();
  spacing[2] = std::abs(height) / static_cast<double>(places.size() - 1);
  const std::array<double, 2> sides = SidesOfPixel(inPlane);
  spacing[0] = sides[1];
  spacing[1] = sides[0];
  itk::Image<float, 3>::DirectionType direction;
  for (unsigned int d = 0; d < 3; ++d)
  {
    direction[d][0] = row[d];
    direction[d][1] = column[d];
    direction[d][2] = normal[d];
  }
  image->SetSpacing(spacing);
  image->SetOrigin(origin);
  image->SetDirection(direction);
}
} // namespace

std::vector<DicomSeries>
ListDicomSeries(const std::string & folder)
{
  const WithoutWarnings quiet;
  RefuseWhatStopsGdcm(folder);
  const auto names = itk::GDCMSeriesFileNames::New();
  names->SetUseSeriesDetails(true);
  names->SetDirectory(folder);
  std::vector<DicomSeries>        found;
  std::set<std::filesystem::path> listed;
  for (const std::string & identifier : std::vector<std::string>(names->GetSeriesUIDs()))
  {
    DicomSeries series;
    series.Name = identifier;
    series.Files = names->GetFileNames(identifier);
    for (const std::string & file : series.Files)
    {
      listed.insert(std::filesystem::path(file).filename());
    }
    if (series.Files.empty())
    {
      continue;
    }
    const auto io = itk::GDCMImageIO::New();
    io->SetFileName(series.Files.front());
    try
    {
      io->ReadImageInformation();
    }
    catch (const itk::ExceptionObject &)
    {
      continue; // a report or a plan: no image
    }
    series.Uid = ValueOf(io->GetMetaDataDictionary(), seriesInstanceUid);
    series.SopClass = ValueOf(io->GetMetaDataDictionary(), sopClass);
    series.Description = Printable(ValueOf(io->GetMetaDataDictionary(), seriesDescription));
    found.push_back(series);
  }
  // Newer GDCM leaves what is cut off out of its series without a word: at either end nobody would miss it.
  FindLostSlices(folder, listed, found);
  for (DicomSeries & series : found)
  {
    const auto same = std::count_if(
      found.begin(), found.end(), [&series](const DicomSeries & other) { return other.Uid == series.Uid; });
    series.Name = Printable(same == 1 && !series.Uid.empty() ? series.Uid : series.Name);
  }
  return found;
}

DicomSeries
ChooseDicomSeries(const std::string & folder, const std::string & role, const std::vector<std::string> & named)
{
  const std::vector<DicomSeries> series = ListDicomSeries(folder);
  if (series.empty())
  {
    throw std::runtime_error("The folder " + folder + " of " + role +
                             " holds no DICOM series of images; give a folder of one series, or a file.");
  }
  const std::string key = OptionOf(role);

  // A name for this role goes before those for any.
  std::vector<DicomSeries> chosen;
  bool                     isNamedForRole = false;
  for (const bool isForRole : { true, false })
  {
    for (const std::string & entry : named)
    {
      const auto        equals = entry.find('=');
      const std::string name = equals == std::string::npos ? entry : entry.substr(equals + 1);
      if ((equals != std::string::npos) != isForRole || (isForRole && entry.substr(0, equals) != key))
      {
        continue;
      }
      isNamedForRole = isNamedForRole || isForRole;
      for (const DicomSeries & each : series)
      {
        if (each.Name != name && each.Uid != name)
        {
          continue;
        }
        auto place = std::find_if(
          chosen.begin(), chosen.end(), [&each](const DicomSeries & other) { return other.Name == each.Name; });
        if (place == chosen.end())
        {
          place = chosen.insert(chosen.end(), each);
        }
        place->NamedBy.push_back(entry);
      }
    }
    if (isNamedForRole || !chosen.empty())
    {
      break;
    }
  }
  if (isNamedForRole && chosen.empty())
  {
    throw std::runtime_error("The folder " + folder + " of " + role +
                             " does not hold the series that --series names for it; it holds " + Describe(series) +
                             '.');
  }
  if (chosen.empty())
  {
    chosen = series;
  }
  if (chosen.size() > 1)
  {
    throw std::runtime_error("The folder " + folder + " of " + role + " holds " + std::to_string(chosen.size()) +
                             " DICOM series" + (chosen.size() < series.size() ? " that --series names" : "") + ": " +
                             Describe(chosen) + ". Name the one to take: --series " + key + "=UID.");
  }
  return chosen.front();
}

itk::Image<float, 3>::Pointer
ReadDicomSeries(const DicomSeries & series, const std::string & role)
{
  using ImageType = itk::Image<float, 3>;
  const auto refuse = [&](const std::string & reason) {
    return std::runtime_error("The DICOM series " + series.Name + " of " + role + " cannot be taken: " + reason + '.');
  };
  try
  {
    // Geometry first: nothing is allocated for what is no volume.
    if (!series.Lost.empty())
    {
      throw std::runtime_error(series.Lost);
    }
    std::vector<itk::GDCMImageIO::Pointer>       headers;
    std::vector<const itk::MetaDataDictionary *> slices;
    for (const std::string & file : series.Files)
    {
      headers.push_back(itk::GDCMImageIO::New());
      headers.back()->SetFileName(file);
      headers.back()->ReadImageInformation();
      if (headers.back()->GetNumberOfComponents() != 1)
      {
        throw std::runtime_error("it is a picture in colours; give the series of the scanner");
      }
      slices.push_back(&headers.back()->GetMetaDataDictionary());
      if (LacksPixels(BytesOf(file), BytesOfPixels(*slices.back())))
      {
        throw std::runtime_error("the file " + NameOf(file) + " of it is cut off; get it again");
      }
    }
    std::vector<SlicePlace> places;
    std::string             spacing;
    const bool              isOneFile = series.Files.size() == 1;
    if (isOneFile)
    {
      if (headers.front()->GetNumberOfDimensions() < 3 || headers.front()->GetDimensions(2) < 2)
      {
        throw std::runtime_error("it has one slice; give the folder of the complete series");
      }
      const std::string data = BytesOf(series.Files.front());
      const DicomHeader header(data);
      places = PlacesOfFrames(header, headers.front()->GetDimensions(2));
      spacing = (header.Frames.front().Spacing.empty() ? header.Shared : header.Frames.front()).Spacing;
    }
    else
    {
      CheckSameForAll(series.Files, slices);
      SidesOfPixel(ValueOf(*slices.front(), pixelSpacing));
      for (const itk::MetaDataDictionary * const slice : slices)
      {
        places.push_back({ NumbersOf<3>(ValueOf(*slice, imagePosition), imagePosition),
                           NumbersOf<6>(ValueOf(*slice, imageOrientation), imageOrientation) });
      }
    }
    CheckSlices(places);

    const WithoutWarnings quiet; // of what was checked above
    const auto            reader = itk::ImageSeriesReader<ImageType>::New();
    const auto            io = itk::GDCMImageIO::New();
    reader->SetImageIO(io);
    reader->SetFileNames(series.Files);
    reader->Update();
    const ImageType::Pointer image = reader->GetOutput();
    image->DisconnectPipeline();
    image->SetMetaDataDictionary(*slices.front());
    if (isOneFile)
    {
      PlaceFrames(image, places, spacing);
    }
    return image;
  }
  catch (const itk::ExceptionObject & error)
  {
    throw refuse(std::string("a file is damaged (") + error.GetDescription() + "); get it again");
  }
  catch (const std::runtime_error & error)
  {
    throw refuse(error.what());
  }
}
} // namespace glioma
