//! The routes: trunk lines on their own lanes, zonal and feeder buses in the streets, and the cable over Ciudad Bolívar.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Troncal,
    Zonal,
    Feeder,
    Cable,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Troncal, Self::Zonal, Self::Feeder, Self::Cable];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Troncal => "troncal",
            Self::Zonal => "zonal",
            Self::Feeder => "feeder",
            Self::Cable => "cable",
        }
    }

    /// Pesos for a boarding. The feeder is part of the trunk ride that follows or went before.
    pub const fn fare(self) -> i64 {
        match self {
            Self::Troncal | Self::Zonal | Self::Cable => 3_550,
            Self::Feeder => 0,
        }
    }

    /// Minutes from one stop to the next.
    pub const fn pace(self) -> i32 {
        match self {
            Self::Troncal | Self::Feeder => 2,
            Self::Zonal => 5,
            Self::Cable => 4,
        }
    }
}

/// From one place to another of a zone, either way; an express stops at every `every`-th and at both ends.
pub struct Leg {
    pub zone: &'static str,
    pub from: &'static str,
    pub to: &'static str,
    pub every: usize,
}

pub struct Line {
    pub code: &'static str,
    pub kind: Kind,
    /// Minutes between departures.
    pub headway: i32,
    pub legs: &'static [Leg],
}

const fn leg(zone: &'static str, from: &'static str, to: &'static str) -> Leg {
    Leg {
        zone,
        from,
        to,
        every: 1,
    }
}

const fn express(zone: &'static str, from: &'static str, to: &'static str, every: usize) -> Leg {
    Leg {
        zone,
        from,
        to,
        every,
    }
}

const fn line(code: &'static str, kind: Kind, headway: i32, legs: &'static [Leg]) -> Line {
    Line {
        code,
        kind,
        headway,
        legs,
    }
}

use Kind::{Cable, Feeder, Troncal, Zonal};

pub const LINES: [Line; 39] = [
    line(
        "1",
        Troncal,
        5,
        &[
            leg("A", "Calle 76", "Tercer Milenio"),
            leg("H", "Hospital", "Portal Tunal"),
        ],
    ),
    line(
        "2",
        Troncal,
        4,
        &[
            leg("B", "Portal Norte", "Héroes"),
            leg("A", "Calle 76", "Avenida Jiménez"),
        ],
    ),
    line(
        "3",
        Troncal,
        5,
        &[
            leg("C", "Portal Suba", "San Martín"),
            leg("A", "Calle 76", "Tercer Milenio"),
        ],
    ),
    line(
        "4",
        Troncal,
        5,
        &[
            leg("D", "Portal 80", "Polo"),
            leg("A", "Calle 76", "Avenida Jiménez"),
        ],
    ),
    line(
        "5",
        Troncal,
        5,
        &[
            leg("F", "Portal Américas", "De La Sabana"),
            leg("J", "Museo del Oro", "Universidades"),
        ],
    ),
    line(
        "6",
        Troncal,
        5,
        &[
            leg("K", "Portal El Dorado", "Centro Memoria"),
            leg("J", "Universidades", "Universidades"),
        ],
    ),
    line(
        "7",
        Troncal,
        6,
        &[
            leg("G", "San Mateo", "Comuneros"),
            leg("E", "Ricaurte", "La Castellana"),
        ],
    ),
    line(
        "8",
        Troncal,
        5,
        &[
            leg("L", "Portal 20 de Julio", "San Diego"),
            leg("M", "Museo Nacional", "Museo Nacional"),
        ],
    ),
    line(
        "B12",
        Troncal,
        8,
        &[
            express("B", "Portal Norte", "Héroes", 3),
            express("E", "La Castellana", "Ricaurte", 3),
            express("G", "Comuneros", "Portal Sur", 3),
        ],
    ),
    line(
        "B74",
        Troncal,
        7,
        &[
            express("B", "Portal Norte", "Héroes", 4),
            express("A", "Calle 76", "Tercer Milenio", 3),
            express("H", "Hospital", "Molinos", 4),
            leg("H", "Portal Usme", "Portal Usme"),
        ],
    ),
    line(
        "C30",
        Troncal,
        8,
        &[
            express("C", "Portal Suba", "San Martín", 3),
            express("E", "NQS - Calle 75", "Ricaurte", 3),
            express("F", "San Façon - Carrera 22", "De La Sabana", 1),
        ],
    ),
    line(
        "D20",
        Troncal,
        8,
        &[
            express("D", "Portal 80", "Polo", 3),
            express("E", "Avenida Chile", "Ricaurte", 2),
            express("G", "Comuneros", "San Mateo", 4),
        ],
    ),
    line(
        "F19",
        Troncal,
        7,
        &[
            express("F", "Portal Américas", "CDS - Carrera 32", 3),
            leg("A", "Avenida Jiménez", "Calle 19"),
            express("J", "Museo del Oro", "Las Aguas", 1),
        ],
    ),
    line(
        "G43",
        Troncal,
        7,
        &[
            express("G", "San Mateo", "Comuneros", 2),
            leg("A", "Tercer Milenio", "Avenida Jiménez"),
            leg("J", "Museo del Oro", "Museo del Oro"),
        ],
    ),
    line(
        "H15",
        Troncal,
        6,
        &[
            leg("H", "Portal Usme", "Socorro"),
            express("H", "Santa Lucía", "Hospital", 2),
            express("A", "Tercer Milenio", "Calle 76", 4),
            express("B", "Héroes", "Portal Norte", 5),
        ],
    ),
    line(
        "K86",
        Troncal,
        9,
        &[
            leg("K", "Portal El Dorado", "Concejo de Bogotá"),
            express("A", "Calle 26", "Calle 76", 3),
            express("B", "Héroes", "Calle 100", 1),
        ],
    ),
    line(
        "L18",
        Troncal,
        9,
        &[
            express("L", "Portal 20 de Julio", "San Diego", 2),
            express("A", "Calle 34", "Calle 76", 2),
            express("D", "Polo", "Portal 80", 4),
        ],
    ),
    line(
        "M86",
        Troncal,
        10,
        &[
            leg("M", "Museo Nacional", "Museo Nacional"),
            leg("L", "San Diego", "Las Nieves"),
            express("K", "Centro Memoria", "Portal El Dorado", 3),
        ],
    ),
    line("T1", Cable, 1, &[leg("T", "Tunal", "Mirador del Paraíso")]),
    line(
        "A601",
        Zonal,
        12,
        &[
            leg("B", "San Antonio Norte", "Santa Bárbara"),
            leg("M", "Usaquén", "La Macarena"),
            leg("J", "La Candelaria", "Las Cruces"),
        ],
    ),
    line(
        "B907",
        Zonal,
        14,
        &[
            leg("D", "Bolivia", "Bachué"),
            leg("E", "Barrios Unidos", "La Floresta"),
            leg("A", "Chapinero Central", "La Soledad"),
        ],
    ),
    line(
        "C84",
        Zonal,
        12,
        &[
            leg("C", "Lisboa", "Niza"),
            leg("B", "Santa Bárbara", "Cedritos"),
            leg("M", "Usaquén", "Chapinero Alto"),
        ],
    ),
    line(
        "F408",
        Zonal,
        15,
        &[
            leg("F", "Roma", "Castilla"),
            leg("K", "Hayuelos", "Modelia Occidental"),
            leg("D", "Álamos Norte", "Garcés Navas"),
        ],
    ),
    line(
        "G506",
        Zonal,
        15,
        &[
            leg("G", "Ciudad Verde", "Bosa La Libertad"),
            leg("F", "Patio Bonito Centro", "Kennedy Central"),
            leg("E", "Galerías", "Galerías"),
        ],
    ),
    line(
        "H603",
        Zonal,
        13,
        &[
            leg("H", "Yomasa", "El Tunal"),
            leg("A", "La Soledad", "Chapinero Central"),
            leg("A", "Calle 63", "Calle 63"),
        ],
    ),
    line(
        "K310",
        Zonal,
        16,
        &[
            leg("K", "Aeropuerto El Dorado", "Hayuelos"),
            leg("E", "La Floresta", "Galerías"),
            leg("A", "Teusaquillo", "Teusaquillo"),
            leg("M", "Universidad Javeriana", "Universidad Javeriana"),
        ],
    ),
    line(
        "L820",
        Zonal,
        14,
        &[
            leg("L", "Juan Rey", "Veinte de Julio"),
            leg("J", "Las Cruces", "La Candelaria"),
            leg("M", "La Macarena", "Usaquén"),
        ],
    ),
    line(
        "T11",
        Zonal,
        15,
        &[
            leg("T", "Sierra Morena", "Candelaria la Nueva"),
            leg("H", "El Tunal", "El Tunal"),
            leg("G", "Perdomo Alto", "Perdomo Alto"),
            leg("F", "Kennedy Central", "Castilla"),
        ],
    ),
    line(
        "2-1",
        Feeder,
        8,
        &[
            leg("B", "Portal Norte", "Portal Norte"),
            leg("B", "Verbenal", "San Antonio Norte"),
        ],
    ),
    line(
        "2-7",
        Feeder,
        9,
        &[
            leg("B", "Toberín", "Toberín"),
            leg("B", "La Uribe", "Cedritos"),
        ],
    ),
    line(
        "3-3",
        Feeder,
        7,
        &[
            leg("C", "Portal Suba", "Portal Suba"),
            leg("C", "Aures", "Lisboa"),
        ],
    ),
    line(
        "4-4",
        Feeder,
        8,
        &[
            leg("D", "Portal 80", "Portal 80"),
            leg("D", "Garcés Navas", "Bolivia"),
        ],
    ),
    line(
        "5-2",
        Feeder,
        8,
        &[
            leg("F", "Portal Américas", "Portal Américas"),
            leg("F", "Tintal", "Roma"),
        ],
    ),
    line(
        "6-1",
        Feeder,
        9,
        &[
            leg("G", "Portal Sur", "Portal Sur"),
            leg("G", "Bosa La Libertad", "Bosa Centro"),
            leg("G", "Perdomo Alto", "Perdomo Alto"),
        ],
    ),
    line(
        "7-3",
        Feeder,
        8,
        &[
            leg("H", "Portal Tunal", "Portal Tunal"),
            leg("T", "Candelaria la Nueva", "Vista Hermosa"),
        ],
    ),
    line(
        "7-9",
        Feeder,
        9,
        &[
            leg("H", "Portal Tunal", "Portal Tunal"),
            leg("H", "El Tunal", "El Tunal"),
            leg("T", "Sierra Morena", "Sierra Morena"),
        ],
    ),
    line(
        "8-4",
        Feeder,
        8,
        &[
            leg("H", "Portal Usme", "Portal Usme"),
            leg("H", "Danubio", "Yomasa"),
        ],
    ),
    line(
        "9-2",
        Feeder,
        9,
        &[
            leg("K", "Portal El Dorado", "Portal El Dorado"),
            leg("K", "Modelia Occidental", "Aeropuerto El Dorado"),
        ],
    ),
    line(
        "10-5",
        Feeder,
        8,
        &[
            leg("L", "Portal 20 de Julio", "Portal 20 de Julio"),
            leg("L", "Veinte de Julio", "Juan Rey"),
        ],
    ),
];
