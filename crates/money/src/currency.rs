//! Currencies and amounts of them.
//!
//! An amount is a whole number of the currency's minor unit, and an account, a document and a line have one currency
//! each. How many digits the minor unit has is ISO 4217's word, not a setting: a yen invoice with cents would be wrong
//! by two digits. The table holds the currencies in circulation; funds codes, metals and test codes are not sold in.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An ISO 4217 currency in circulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency {
    code: [u8; 3],
    digits: u8,
}

/// A text that is not a currency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an ISO 4217 currency in circulation; write a code such as EUR")]
pub struct CurrencyRefused {
    /// The text as given.
    pub text: String,
}

/// Currencies without a minor unit.
const DIGITS_0: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF";
/// Currencies of a thousand minor units.
const DIGITS_3: &str = "BHD IQD JOD KWD LYD OMR TND";
/// Currencies of a hundred minor units.
const DIGITS_2: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD \
                        CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ \
                        GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL \
                        MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR \
                        PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT \
                        TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD XCG YER ZAR ZMW ZWG";

impl Currency {
    /// The code.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.code).unwrap_or("")
    }

    /// Digits of the minor unit after the point: 0, 2 or 3.
    pub const fn digits(&self) -> u8 {
        self.digits
    }

    /// How many minor units make one of the currency.
    pub fn minor_units(&self) -> i64 {
        10_i64.saturating_pow(u32::from(self.digits))
    }
}

impl FromStr for Currency {
    type Err = CurrencyRefused;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let tables = [(0, DIGITS_0), (2, DIGITS_2), (3, DIGITS_3)];
        let found = tables
            .into_iter()
            .find(|(_, codes)| codes.split_ascii_whitespace().any(|code| code == text));
        match (found, <[u8; 3]>::try_from(text.as_bytes())) {
            (Some((digits, _)), Ok(code)) => Ok(Self { code, digits }),
            _ => Err(CurrencyRefused { text: text.to_owned() }),
        }
    }
}

impl TryFrom<String> for Currency {
    type Error = CurrencyRefused;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

/// The most an amount may be, either way: 10^18 minor units.
pub const AMOUNT_MINOR_MAX: i64 = 1_000_000_000_000_000_000;

/// A whole number of minor units of one currency, within ±10^18.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Amount {
    minor: i64,
    currency: Currency,
}

/// A sum or a conversion that gives no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmountRefused {
    /// Beyond ±10^18 minor units.
    #[error("{minor} minor units of {currency} are beyond 10^18; split the document")]
    Overflow {
        /// The number, as text.
        minor: String,
        /// The currency.
        currency: Currency,
    },
    /// Two currencies in one sum.
    #[error("{left} and {right} cannot be added; one document has one currency")]
    MixedCurrencies {
        /// One of them.
        left: Currency,
        /// The other.
        right: Currency,
    },
}

impl Amount {
    /// An amount of `minor` minor units.
    ///
    /// # Errors
    /// [`AmountRefused::Overflow`] beyond ±10^18.
    pub fn of_minor(minor: i128, currency: Currency) -> Result<Self, AmountRefused> {
        i64::try_from(minor)
            .ok()
            .filter(|minor| (-AMOUNT_MINOR_MAX..=AMOUNT_MINOR_MAX).contains(minor))
            .map(|minor| Self { minor, currency })
            .ok_or_else(|| AmountRefused::Overflow { minor: minor.to_string(), currency })
    }

    /// Nothing.
    pub const fn zero(currency: Currency) -> Self {
        Self { minor: 0, currency }
    }

    /// The number of minor units.
    pub const fn minor(&self) -> i64 {
        self.minor
    }

    /// The currency.
    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// The sum.
    ///
    /// # Errors
    /// [`AmountRefused`] for two currencies or beyond ±10^18.
    pub fn checked_add(&self, other: &Self) -> Result<Self, AmountRefused> {
        if self.currency != other.currency {
            let (left, right) = (self.currency, other.currency);
            return Err(AmountRefused::MixedCurrencies { left, right });
        }
        let sum = i128::from(self.minor).saturating_add(i128::from(other.minor));
        Self::of_minor(sum, self.currency)
    }

    /// The amount as a decimal without the currency, like `-0.05`.
    pub fn decimal(&self) -> String {
        let sign = if self.minor < 0 { "-" } else { "" };
        let digits = usize::from(self.currency.digits);
        let scale = self.currency.minor_units().unsigned_abs();
        let magnitude = self.minor.unsigned_abs();
        let whole = magnitude.checked_div(scale).unwrap_or(0);
        let rest = magnitude.checked_rem(scale).unwrap_or(0);
        if digits == 0 {
            format!("{sign}{whole}")
        } else {
            format!("{sign}{whole}.{rest:0digits$}")
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.decimal(), self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn currencies_are_taken_and_refused() {
        for (code, digits) in [("EUR", 2), ("JPY", 0), ("KWD", 3), ("BGN", 9), ("HRK", 9)] {
            match code.parse::<Currency>() {
                Ok(currency) => assert_eq!(currency.digits(), digits),
                // Bulgaria and Croatia pay in euros now.
                Err(refusal) => assert!(digits == 9 && refusal.to_string().contains(code)),
            }
        }
        for text in ["", "eur", "EU", "EURO", "XXX", "XAU", " EUR"] {
            assert!(text.parse::<Currency>().is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn amounts_print_their_minor_unit() {
        for (code, minor, text) in
            [("EUR", -5, "-0.05 EUR"), ("JPY", 5, "5 JPY"), ("KWD", 1_234, "1.234 KWD")]
        {
            let amount = Amount::of_minor(minor, code.parse().unwrap()).unwrap();
            assert_eq!(amount.to_string(), text);
        }
    }

    #[test]
    fn sums_are_refused_rather_than_wrong() {
        let euro: Currency = "EUR".parse().unwrap();
        let most = Amount::of_minor(i128::from(AMOUNT_MINOR_MAX), euro).unwrap();
        assert!(most.checked_add(&Amount::of_minor(1, euro).unwrap()).is_err());
        assert!(most.checked_add(&Amount::zero("USD".parse().unwrap())).is_err());
        assert!(Amount::of_minor(i128::MAX, euro).is_err());
    }
}
