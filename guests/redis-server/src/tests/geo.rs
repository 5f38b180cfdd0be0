//! Places.

use super::*;

#[test]
fn places_as_redis_documents_them() {
    let cluster = cluster();
    run(
        &cluster,
        "GEOADD Sicily 13.361389 38.115556 Palermo 15.087269 37.502669 Catania\nGEOADD Sicily 12.758489 38.788135 edge1 17.241510 38.788135 edge2",
    );
    check(
        &cluster,
        r#"
        ZSCORE Sicily Palermo       => $16 3479099956230698
        GEODIST Sicily Palermo Catania => $11 166274.1516
        GEODIST Sicily Palermo Catania km => $8 166.2742
        GEODIST Sicily Palermo Catania mi => $8 103.3182
        GEODIST Sicily Foo Bar      => $-1
        GEODIST Sicily Palermo Catania x => -ERR unsupported unit provided. please use M, KM, FT, MI
        GEOHASH Sicily Palermo Catania nope => *3 $11 sqc8b49rny0 $11 sqdtr74hyu0 $-1
        GEOPOS Sicily Palermo nope  => *2 *2 $20 13.36138933897018433 $20 38.11555639549629859 *-1
        GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 200 km ASC => *2 $7 Catania $7 Palermo
        GEOSEARCH Sicily FROMLONLAT 15 37 BYBOX 400 400 km ASC WITHDIST => *4 *2 $7 Catania $7 56.4413 *2 $7 Palermo $8 190.4424 *2 $5 edge2 $8 279.7403 *2 $5 edge1 $8 279.7405
        GEOSEARCH Sicily FROMMEMBER Palermo BYRADIUS 100 km COUNT 1 WITHHASH => *1 *2 $7 Palermo :3479099956230698
        GEOSEARCH Sicily FROMMEMBER nope BYRADIUS 100 km => -ERR could not decode requested zset member
        GEOSEARCH Sicily BYRADIUS 100 km ASC COUNT 1 => -ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GEOSEARCH
        GEOSEARCH Sicily FROMMEMBER Palermo ASC COUNT 1 ANY => -ERR exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCH
        GEOSEARCH nope FROMLONLAT 15 37 BYRADIUS 200 km => *0
        GEORADIUS Sicily 15 37 200 km WITHDIST DESC => *2 *2 $7 Palermo $8 190.4424 *2 $7 Catania $7 56.4413
        GEORADIUS Sicily 15 37 200 km COUNT 0 => -ERR COUNT must be > 0
        GEORADIUS Sicily 15 37 200 km ANY => -ERR the ANY argument requires COUNT argument
        GEORADIUS Sicily 15 37 -1 km => -ERR radius cannot be negative
        GEORADIUS Sicily 15 37 200 km STORE {Sicily}near => :2
        GEORADIUS Sicily 15 37 200 km WITHDIST STORE {Sicily}near => -ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options
        GEORADIUS_RO Sicily 15 37 200 km STORE {Sicily}near => -ERR syntax error
        ZSCORE {Sicily}near Palermo => $16 3479099956230698
        GEORADIUSBYMEMBER Sicily Palermo 100 km ASC => *2 $7 Palermo $5 edge1
        GEOSEARCHSTORE {Sicily}d Sicily FROMLONLAT 15 37 BYRADIUS 200 km STOREDIST => :2
        ZRANGE {Sicily}d 0 0        => *1 $7 Catania
        GEOADD Sicily 200 10 x      => -ERR invalid longitude,latitude pair 200.000000,10.000000
        GEOADD Sicily 1 2           => -ERR wrong number of arguments for 'geoadd' command
        GEOADD Sicily NX 1 2 x y    => -ERR syntax error
        GEOADD Sicily XX CH 13.361389 38.2 Palermo => :1
        "#,
    );
}

#[test]
/// Fails if the cells of a search do not cover its area: at the poles, across the 180th meridian, for any radius.
fn searches_find_all_that_is_near_and_nothing_else() {
    use crate::geo::Point;
    let cluster = FakeCluster::new::<Redis>(1, 1);
    let mut state = 0xfeed_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut places = Vec::new();
    for number in 0..1500 {
        // A third of them near the date line, a third far in the north.
        let (longitude, latitude) = match number % 3 {
            0 => ((random() * 360.0) - 180.0, random() * 170.0 - 85.0),
            1 => (if random() < 0.5 { 179.9 } else { -180.0 } + random() * 0.1, random() * 4.0),
            _ => (random() * 360.0 - 180.0, 80.0 + random() * 5.0),
        };
        places.push((format!("p{number}"), longitude, latitude));
    }
    for batch in places.chunks(100) {
        let arguments: String = batch.iter().map(|(name, x, y)| format!(" {x} {y} {name}")).collect();
        assert_eq!(ask(&cluster, &format!("GEOADD geo{arguments}")), ":100");
    }
    let stored: Vec<(String, Point)> = places
        .iter()
        .map(|(name, ..)| {
            let score = run(&cluster, &format!("ZSCORE geo {name}"));
            (name.clone(), Point::decode(score.split(' ').nth(1).unwrap().parse().unwrap()))
        })
        .collect();
    for round in 0..120 {
        let (_, longitude, latitude) = &places[round * 11];
        let kilometres = [0.5, 5.0, 20.0, 100.0, 700.0, 3000.0, 11_000.0, 30_000.0][round % 8];
        let centre = Point { longitude: *longitude, latitude: *latitude };
        let circle: std::collections::BTreeSet<_> = stored
            .iter()
            .filter(|(_, point)| centre.distance(point) <= kilometres * 1000.0)
            .map(|(name, _)| name.as_str())
            .collect();
        let reply =
            run(&cluster, &format!("GEOSEARCH geo FROMLONLAT {longitude} {latitude} BYRADIUS {kilometres} km ASC"));
        let found: std::collections::BTreeSet<_> = reply.split(' ').filter(|word| word.starts_with('p')).collect();
        assert_eq!(found, circle, "{kilometres} km around {longitude} {latitude}");
        let within = |point: &Point| {
            let half = kilometres * 500.0;
            let north = Point { longitude: point.longitude, latitude: centre.latitude };
            let east = Point { longitude: centre.longitude, latitude: point.latitude };
            point.distance(&north) <= half && point.distance(&east) <= half
        };
        let square: std::collections::BTreeSet<_> =
            stored.iter().filter(|(_, point)| within(point)).map(|(name, _)| name.as_str()).collect();
        let reply = run(
            &cluster,
            &format!("GEOSEARCH geo FROMLONLAT {longitude} {latitude} BYBOX {kilometres} {kilometres} km DESC"),
        );
        let found: std::collections::BTreeSet<_> = reply.split(' ').filter(|word| word.starts_with('p')).collect();
        assert_eq!(found, square, "a square of {kilometres} km around {longitude} {latitude}");
    }
}
