"""Kinds of streets: how wide, how busy, what lines them. Scenes draw their numbers from here."""

from dataclasses import dataclass

from ssal3d.simulation.materials import Material


@dataclass(frozen=True)
class Style:
    """A kind of street; lengths in metres, speeds in m/s, densities per 100 m, means per scene.

    Attributes:
        share: Relative frequency of such scenes.
        lane: Width of a lane.
        lanes: Lanes in each direction.
        parking: Width of the parking strip; 0 for none.
        walk: Range of the side walk's width; (0, 0) for none.
        setback: Range of the distance from the side walk to the houses.
        verge: Surface beyond the side walk.
        bank: Standard deviation of the slope beyond the side walk.
        bend: Standard deviation of the curvature in 1/m.
        speed: Range of the ego vehicle's speed.
        parked: Range of the share of parking places that are taken.
        across: Probability that a side parks across the street instead of along it.
        traffic: Mean number of vehicles ahead in each lane.
        crossing: Probability of a crossing with traffic from the sides.
        pedestrians: Mean number of groups; the number varies far more than a Poisson number.
        cyclists: Mean number.
        bicycles: Mean number of stands with empty bicycles.
        sitting: Probability of benches with people on them.
        trees: Density along each side.
        poles: Density of lamp posts, signs and bollards along each side.
        clutter: Density of bins, bushes, cabinets and narrow conifers along each side.
        border: Probability that a side walk ends at a fence, hedge or wall.
        houses: Probability that a side has houses.
    """

    share: float
    lane: float
    lanes: int
    parking: float
    walk: tuple[float, float]
    setback: tuple[float, float]
    verge: Material
    bank: float
    bend: float
    speed: tuple[float, float]
    parked: tuple[float, float]
    across: float
    traffic: float
    crossing: float
    pedestrians: float
    cyclists: float
    bicycles: float
    sitting: float
    trees: float
    poles: float
    clutter: float
    border: float
    houses: float


STYLES = {
    'residential': Style(
        share=0.40,  # most of KITTI's frames
        lane=2.6,
        lanes=1,
        parking=2.1,
        walk=(0.8, 2.4),
        setback=(0.3, 4.5),  # front gardens
        verge=Material.GRASS,
        bank=0.04,
        bend=0.0025,
        speed=(0.0, 9.0),
        parked=(0.0, 0.50),
        across=0.08,
        traffic=0.5,
        crossing=0.25,
        pedestrians=0.35,
        cyclists=0.35,
        bicycles=0.3,
        sitting=0.01,
        trees=7.0,
        poles=4.0,
        clutter=11.0,
        border=0.85,
        houses=0.9,
    ),
    'city': Style(
        share=0.22,  # shopping streets, the source of most pedestrians
        lane=2.9,
        lanes=1,
        parking=2.2,
        walk=(1.5, 4.0),
        setback=(0.0, 1.0),
        verge=Material.PAVING,
        bank=0.0,
        bend=0.0015,
        speed=(0.0, 9.0),
        parked=(0.0, 0.45),
        across=0.06,
        traffic=0.9,
        crossing=0.35,
        pedestrians=1.8,
        cyclists=0.75,
        bicycles=1.0,
        sitting=0.05,
        trees=4.0,
        poles=7.0,
        clutter=5.0,
        border=0.1,
        houses=0.95,
    ),
    'road': Style(
        share=0.28,  # country and main roads
        lane=3.2,
        lanes=1,
        parking=0.0,
        walk=(0.0, 0.0),
        setback=(5.0, 18.0),
        verge=Material.GRASS,
        bank=0.12,
        bend=0.003,
        speed=(8.0, 22.0),
        parked=(0.0, 0.0),
        across=0.0,
        traffic=1.1,
        crossing=0.20,
        pedestrians=0.03,
        cyclists=0.12,
        bicycles=0.0,
        sitting=0.0,
        trees=14.0,
        poles=3.0,
        clutter=10.0,
        border=0.65,
        houses=0.35,
    ),
    'avenue': Style(
        share=0.07,  # four lanes
        lane=3.4,
        lanes=2,
        parking=0.0,
        walk=(2.0, 4.0),
        setback=(3.0, 10.0),
        verge=Material.GRASS,
        bank=0.03,
        bend=0.001,
        speed=(0.0, 15.0),
        parked=(0.0, 0.0),
        across=0.0,
        traffic=1.5,
        crossing=0.50,
        pedestrians=0.5,
        cyclists=0.5,
        bicycles=0.2,
        sitting=0.01,
        trees=6.0,
        poles=8.0,
        clutter=3.0,
        border=0.4,
        houses=0.7,
    ),
    'car_park': Style(
        share=0.03,  # wide; rows across the way
        lane=3.0,
        lanes=1,
        parking=5.2,
        walk=(1.0, 2.0),
        setback=(8.0, 20.0),
        verge=Material.PAVING,
        bank=0.0,
        bend=0.0,
        speed=(0.0, 4.0),
        parked=(0.15, 0.6),
        across=1.0,
        traffic=0.2,
        crossing=0.1,
        pedestrians=0.6,
        cyclists=0.05,
        bicycles=0.2,
        sitting=0.0,
        trees=3.0,
        poles=3.0,
        clutter=2.0,
        border=0.5,
        houses=0.6,
    ),
}
