//! Users, tutors and students.

use argon2::{Argon2, PasswordHasher, password_hash::phc::PasswordHash};

use crate::calendar::{DAY, END, START};
use crate::chance::{Chance, Subject};

/// Subjects in the order of their ids; tutor 1 teaches the first.
pub const SUBJECTS: [&str; 12] = [
    "Math",
    "Physics",
    "Chemistry",
    "Programming",
    "English",
    "Spanish",
    "History",
    "Biology",
    "Statistics",
    "Music",
    "French",
    "Economics",
];

/// The password of student1 and student2.
pub const STUDENT_PASSWORD: &str = "password";
/// No password hashes to this: nobody can log in until it is replaced.
pub const LOCKED: &str = "!";

const FIRST_NAMES: [&str; 40] = [
    "Valentina",
    "Santiago",
    "Mariana",
    "Samuel",
    "Isabella",
    "Matías",
    "Sofía",
    "Sebastián",
    "Gabriela",
    "Nicolás",
    "Daniela",
    "Alejandro",
    "Laura",
    "Juan",
    "Camila",
    "Andrés",
    "Sara",
    "David",
    "Paula",
    "Felipe",
    "Luisa",
    "Julián",
    "Natalia",
    "Miguel",
    "Carolina",
    "Óscar",
    "Adriana",
    "Jorge",
    "Diana",
    "Ricardo",
    "Claudia",
    "Hernán",
    "Patricia",
    "Iván",
    "Ángela",
    "Fabián",
    "Marcela",
    "Germán",
    "Yolanda",
    "Édgar",
];
const SURNAMES: [&str; 40] = [
    "Rodríguez",
    "Gómez",
    "González",
    "Martínez",
    "García",
    "López",
    "Hernández",
    "Sánchez",
    "Ramírez",
    "Pérez",
    "Díaz",
    "Rojas",
    "Torres",
    "Castro",
    "Vargas",
    "Moreno",
    "Ortiz",
    "Ruiz",
    "Suárez",
    "Muñoz",
    "Jiménez",
    "Gutiérrez",
    "Álvarez",
    "Rincón",
    "Cárdenas",
    "Beltrán",
    "Quintero",
    "Peña",
    "Ospina",
    "Mejía",
    "Cortés",
    "Pardo",
    "Acosta",
    "Ávila",
    "Forero",
    "Bernal",
    "Nieto",
    "Vega",
    "Lozano",
    "Camacho",
];

pub struct User {
    pub username: String,
    pub full_name: String,
    pub created_at: i64,
}

pub struct Tutor {
    pub name: String,
    pub subject: &'static str,
    /// Stars from 0 to 5.
    pub rating: f32,
}

/// Users in the order of their ids: student1, student2, operator, then everybody else as they signed up.
pub fn users(seed: u64, count: u32) -> Vec<User> {
    let mut chance = Chance::new(seed, Subject::People);
    (0..count)
        .map(|index| {
            let (first, last, second) = (
                *chance.pick(&FIRST_NAMES),
                *chance.pick(&SURNAMES),
                *chance.pick(&SURNAMES),
            );
            let username = match index {
                0 => "student1".to_owned(),
                1 => "student2".to_owned(),
                2 => "operator".to_owned(),
                _ => format!("{}.{}{}", plain(first), plain(last), index + 1),
            };
            let full_name = if index == 2 {
                "Operator".to_owned()
            } else {
                format!("{first} {last} {second}")
            };
            User {
                username,
                full_name,
                created_at: signed_up(index, count) + chance.between(0, 60),
            }
        })
        .collect()
}

/// Sign-ups in order: five sixths in the three years before, the others during the year.
fn signed_up(index: u32, count: u32) -> i64 {
    let (index, count) = (i64::from(index), i64::from(count));
    let before = count * 5 / 6;
    let from = START - 3 * 365 * DAY;
    if index < before {
        from + (START - DAY - from) / before * index
    } else {
        // Up to an hour before the end, to the minute that is added.
        START + (END - 3_600 - START) / (count - before) * (index - before)
    }
}

fn plain(name: &str) -> String {
    name.to_lowercase()
        .chars()
        .map(|letter| match letter {
            'á' => 'a',
            'é' => 'e',
            'í' => 'i',
            'ó' => 'o',
            'ú' => 'u',
            'ñ' => 'n',
            other => other,
        })
        .collect()
}

/// The argon2id hashes of student1 and student2, with salts from the seed.
pub fn student_hashes(seed: u64) -> Result<[String; 2], argon2::password_hash::Error> {
    let mut chance = Chance::new(seed, Subject::Salts);
    let mut hash = || -> Result<String, argon2::password_hash::Error> {
        let salt: [u8; 16] = chance.bytes();
        let hash: PasswordHash =
            Argon2::default().hash_password_with_salt(STUDENT_PASSWORD.as_bytes(), &salt)?;
        Ok(hash.to_string())
    };
    Ok([hash()?, hash()?])
}

pub fn tutors(seed: u64, count: u32) -> Vec<Tutor> {
    let mut chance = Chance::new(seed, Subject::Tutors);
    (0..count as usize)
        .map(|index| Tutor {
            name: format!("{} {}", chance.pick(&FIRST_NAMES), chance.pick(&SURNAMES)),
            subject: SUBJECTS[index % SUBJECTS.len()],
            rating: (30 + chance.below(21)) as f32 / 10.0,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::PasswordVerifier;

    #[test]
    fn sign_ups_are_in_order_and_names_are_unique() {
        let users = users(1, 1_700);
        assert!(users.is_sorted_by_key(|user| user.created_at - 60));
        assert!(users.iter().all(|user| user.created_at < END));
        let mut names: Vec<_> = users.iter().map(|user| &user.username).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 1_700);
    }

    #[test]
    fn students_can_log_in_and_a_locked_user_cannot() {
        let hashes = student_hashes(1).unwrap();
        assert_ne!(hashes[0], hashes[1]);
        for hash in &hashes {
            assert!(hash.starts_with("$argon2id$"));
            let parsed = PasswordHash::new(hash).unwrap();
            assert!(
                Argon2::default()
                    .verify_password(b"password", &parsed)
                    .is_ok()
            );
            assert!(
                Argon2::default()
                    .verify_password(b"Password", &parsed)
                    .is_err()
            );
        }
        assert!(PasswordHash::new(LOCKED).is_err());
    }

    #[test]
    fn tutor_1_teaches_math() {
        assert_eq!(tutors(1, 48)[0].subject, "Math");
    }
}
