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
#ifndef LayerGeometry_h
#define LayerGeometry_h

#include "ModelBackend.h"

namespace itk
{
/** Where the cells of a layer lie, from a dry run on noise of the size of \a input: the voxels that the gradient of one
 * cell reaches, and of its neighbour along the three axes. Their middle is the cell's centre and their distance the
 * step. Refused where that does not answer: the layer has fewer than two cells on an axis, a cell sees the whole image,
 * or the image's border cuts what it sees. Found once for a backend, a layer and a size. */
TorchLayerGeometry
FindLayerGeometry(const ModelBackend & backend, const std::string & layer, const torch::Tensor & input);
} // namespace itk

#endif // LayerGeometry_h
