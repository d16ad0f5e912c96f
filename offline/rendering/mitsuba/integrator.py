"""Mitsuba's side: what a ray sees, and how that changes where the borders of faces move.

Mitsuba's classes belong to one of its variants, so these are made when one has been chosen.
"""

from functools import cache
from typing import Any

import drjit as dr
import mitsuba as mi

from offline.rendering.mitsuba.lighting import Surface

__all__ = ["integrator_of"]

_LEAST = 0.03  # of the change of radiance across an edge, by which the edge is drawn
_APART = 1e-5  # of its distance, by which the two sides of an edge are looked at
_BEHIND = 1e-4  # of its distance, by which what hides an edge is nearer


def integrator_of(surface: Surface) -> Any:
    """Return the integrator of one scene."""
    return _integrator_class(mi.variant())(surface)


@cache
def _integrator_class(variant: str) -> Any:
    """Return the class for the variant that is set.

    Mitsuba's `direct_projective` has three gaps here: a light's direction and a lamp's place have
    no gradient, a shaded edge between two visible faces is no discontinuity to it, and the
    background would have to be a light. So rays are shaded by `Surface`, and all edges are sampled
    on both sides; sampling, silhouette motion, Jacobians and image assembly are Mitsuba's.
    """

    class Borders(mi.ad.ProjectiveDetail):  # type: ignore[misc]
        """Draws points of all edges, by length and by how much the image differs across them."""

        def init_primarily_visible_silhouette(self, scene: Any, sensor: Any) -> None:
            (mesh,) = scene.silhouette_shapes()
            edges = self.parent.surface.edges
            change = mi.Float(_LEAST)
            for part in (0.05, 0.35, 0.65, 0.95):
                place = mesh.sample_precomputed_silhouette(mi.Point3f(0), edges, part, True)
                difference = dr.max(dr.abs(self._difference(scene, place, mi.Bool(True))))
                change = dr.maximum(change, difference)
            across = place.pdf * dr.norm(place.p)
            shown = dr.norm(dr.cross(place.silhouette_d, place.d)) / across
            self.primary_indices = [edges]
            self.primary_distributions = [mi.DiscreteDistribution(shown * change)]
            self.primary_shape_distribution = mi.DiscreteDistribution(mi.Float(1))

        def eval_primary_silhouette_radiance_difference(
            self, scene: Any, sampler: Any, ss: Any, sensor: Any, active: Any = True
        ) -> tuple[Any, Any]:
            return self._difference(scene, ss, active), []

        def _difference(self, scene: Any, ss: Any, active: Any) -> Any:
            """Return radiance inside minus outside of the edge; 0 where the edge is hidden.

            A fold's two sides are seen by a ray on each. A crease's are its two faces: beside it,
            a face seen nearly edge on may be narrower than the step.
            """
            distance = dr.norm(ss.p)
            ahead = scene.ray_intersect_preliminary(mi.Ray3f(mi.Point3f(0), ss.d), False, active)
            active &= (ss.d.z < 0) & (ahead.t > distance * (1 - _BEHIND))
            surface, radiance = self.parent.surface, self.parent.radiance
            other, uv, beyond = surface.across(ss.prim_index, ss.uv)
            crease = active & (dr.dot(ss.n, beyond - ss.p) > 0) & (other != ss.prim_index)
            fold = active & ~crease
            step = ss.n * (_APART * distance)
            inside, outside = (
                mi.Ray3f(mi.Point3f(0), dr.normalize(place)) for place in (ss.p - step, ss.p + step)
            )
            here = dr.select(
                crease,
                surface.shade(ss.prim_index, ss.uv, crease),
                radiance(scene, inside, fold)[0],
            )
            there = dr.select(
                crease, surface.shade(other, uv, crease), radiance(scene, outside, fold)[0]
            )
            return dr.select(active, here - there, 0)

    class Shaded(mi.ad.integrators.direct_projective.DirectProjectiveIntegrator):  # type: ignore[misc]
        """Direct light of the scene's own formulas; all edges of its one mesh are borders."""

        def __init__(self, surface: Surface) -> None:
            properties = mi.Properties()
            properties["sppi"] = 0  # shading is no discontinuity that is seen by way of a surface
            super().__init__(properties)
            self.surface = surface
            self.proj_detail = Borders(self)
            self.sample_border_warning = False

        def sample(self, mode: Any, scene: Any, ray: Any, active: Any, **_: Any) -> Any:
            with dr.resume_grad(when=mode != dr.ADMode.Primal):
                colour, hit = self.radiance(scene, ray, active)
            return colour, hit, [], None

        def radiance(self, scene: Any, ray: Any, active: Any) -> tuple[Any, Any]:
            si = scene.ray_intersect(ray, mi.RayFlags.All, True, active)
            hit = si.is_valid() & active
            colour = self.surface.shade(si.prim_index, si.uv, hit)
            return dr.select(hit, colour, self.surface.backdrop(ray)), hit

    return Shaded
