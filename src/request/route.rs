//! The fixed table of paths.

/// The shape in which Weir answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Face {
    /// `/api/v1`: OpenRouter's contract.
    OpenRouter = 0,
    /// `/v1`: the upstream's own bytes.
    Faithful = 1,
}

/// What a path asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Operation {
    #[default]
    Chat = 0,
    Completion = 1,
    Embedding = 2,
}

impl Operation {
    /// Label in metrics and the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completion => "completion",
            Self::Embedding => "embedding",
        }
    }

    /// Path below a face's or a provider's base.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/chat/completions",
            Self::Completion => "/completions",
            Self::Embedding => "/embeddings",
        }
    }
}

/// What answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Goes to an upstream.
    Inference(Operation),
    /// `GET` of what is in the catalogue.
    Catalog(Read),
    /// `GET generation`, OpenRouter's face only.
    Generation,
    /// `GET activity`, OpenRouter's face only.
    Activity,
    /// `OPTIONS` of any path: a browser asks before it sends the request itself.
    Preflight,
}

/// What of the catalogue is read (contract 1.4, 1.5, 1.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// `models`.
    Models,
    /// `embeddings/models`.
    EmbeddingModels,
    /// `models/count`.
    Count,
    /// `models/user`: what the caller may use.
    UserModels,
    /// `model/{author}/{slug}`.
    Model,
    /// `models/{author}/{slug}/endpoints`.
    Endpoints,
    /// `endpoints/zdr`.
    ZdrEndpoints,
    /// `providers`.
    Providers,
}

/// Why a path is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// 404.
    Path,
    /// 405, with the method that would do.
    Method(&'static str),
}

/// Every path Weir serves, whole and exact; nothing is normalised.
const ROUTES: [(&str, &str, Face, Target); 15] = [
    ("/api/v1/chat/completions", POST, Face::OpenRouter, Target::Inference(Operation::Chat)),
    ("/api/v1/completions", POST, Face::OpenRouter, Target::Inference(Operation::Completion)),
    ("/api/v1/embeddings", POST, Face::OpenRouter, Target::Inference(Operation::Embedding)),
    ("/api/v1/models", GET, Face::OpenRouter, Target::Catalog(Read::Models)),
    ("/api/v1/models/count", GET, Face::OpenRouter, Target::Catalog(Read::Count)),
    ("/api/v1/models/user", GET, Face::OpenRouter, Target::Catalog(Read::UserModels)),
    ("/api/v1/embeddings/models", GET, Face::OpenRouter, Target::Catalog(Read::EmbeddingModels)),
    ("/api/v1/endpoints/zdr", GET, Face::OpenRouter, Target::Catalog(Read::ZdrEndpoints)),
    ("/api/v1/providers", GET, Face::OpenRouter, Target::Catalog(Read::Providers)),
    ("/api/v1/generation", GET, Face::OpenRouter, Target::Generation),
    ("/api/v1/activity", GET, Face::OpenRouter, Target::Activity),
    ("/v1/chat/completions", POST, Face::Faithful, Target::Inference(Operation::Chat)),
    ("/v1/completions", POST, Face::Faithful, Target::Inference(Operation::Completion)),
    ("/v1/embeddings", POST, Face::Faithful, Target::Inference(Operation::Embedding)),
    ("/v1/models", GET, Face::Faithful, Target::Catalog(Read::Models)),
];
/// What stands before and behind a model's slug in the other paths, all of `GET`.
const OF_A_MODEL: [(&str, &str, Read); 2] =
    [("/api/v1/models/", "/endpoints", Read::Endpoints), ("/api/v1/model/", "", Read::Model)];
const GET: &str = "GET";
const POST: &str = "POST";

/// What a request asks for. `path` is without the query.
///
/// # Errors
/// [`Miss::Path`] for a path that is not in the table, [`Miss::Method`] for one that is, with
/// another method.
pub fn route(method: &http::Method, path: &str) -> Result<(Face, Target), Miss> {
    let whole = ROUTES.iter().find(|(known, ..)| *known == path);
    let whole = whole.map(|(_, served, face, target)| (*served, *face, *target));
    let of_a_model =
        || of_a_model(path).map(|(read, _)| (GET, Face::OpenRouter, Target::Catalog(read)));
    let (served, face, target) = whole.or_else(of_a_model).ok_or(Miss::Path)?;
    match method.as_str() {
        method if method == served => Ok((face, target)),
        "OPTIONS" => Ok((face, Target::Preflight)),
        _ => Err(Miss::Method(served)),
    }
}

/// What is read of which model, as its slug stands in the path.
#[must_use]
pub fn of_a_model(path: &str) -> Option<(Read, &str)> {
    OF_A_MODEL.iter().find_map(|(before, behind, read)| {
        let slug = path.strip_prefix(before)?.strip_suffix(behind)?;
        let (author, name) = slug.split_once('/')?;
        (!author.is_empty() && !name.is_empty() && !name.contains('/')).then_some((*read, slug))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    #[test]
    fn every_route_is_what_its_path_says() {
        for (path, method, face, target) in ROUTES {
            let tail = match face {
                Face::OpenRouter => path.strip_prefix("/api/v1"),
                Face::Faithful => path.strip_prefix("/v1"),
            };
            let expected = match target {
                Target::Inference(operation) => operation.path(),
                Target::Catalog(Read::Models) => "/models",
                Target::Catalog(Read::EmbeddingModels) => "/embeddings/models",
                Target::Catalog(Read::Count) => "/models/count",
                Target::Catalog(Read::UserModels) => "/models/user",
                Target::Catalog(Read::ZdrEndpoints) => "/endpoints/zdr",
                Target::Catalog(Read::Providers) => "/providers",
                Target::Catalog(Read::Model | Read::Endpoints) => unreachable!("of a model"),
                Target::Generation => "/generation",
                Target::Activity => "/activity",
                Target::Preflight => unreachable!("no path of its own"),
            };
            assert_eq!(tail, Some(expected));
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(route(&method, path), Ok((face, target)));
            assert_eq!(route(&Method::OPTIONS, path), Ok((face, Target::Preflight)));
        }
    }

    #[test]
    fn a_wrong_method_names_the_right_one() {
        assert_eq!(route(&Method::GET, "/v1/embeddings"), Err(Miss::Method("POST")));
        assert_eq!(route(&Method::HEAD, "/api/v1/models"), Err(Miss::Method("GET")));
        assert_eq!(route(&Method::POST, "/api/v1/generation"), Err(Miss::Method("GET")));
    }

    #[test]
    fn a_models_slug_stands_in_its_paths() {
        let read = |path| route(&Method::GET, path).map(|(_, target)| target);
        let path = "/api/v1/models/acme/small:free/endpoints";
        assert_eq!(read(path), Ok(Target::Catalog(Read::Endpoints)));
        assert_eq!(of_a_model(path), Some((Read::Endpoints, "acme/small:free")));
        assert_eq!(read("/api/v1/model/acme/small"), Ok(Target::Catalog(Read::Model)));
        for path in [
            "/api/v1/models/acme/endpoints",
            "/api/v1/models//small/endpoints",
            "/api/v1/models/acme//endpoints",
            "/api/v1/models/acme/small/x/endpoints",
            "/api/v1/model/acme",
            "/v1/model/acme/small",
        ] {
            assert_eq!(read(path), Err(Miss::Path), "{path}");
        }
        assert_eq!(route(&Method::POST, path), Err(Miss::Method("GET")));
    }

    #[test]
    fn only_exact_paths_are_served() {
        for path in [
            "",
            "/",
            "/v1",
            "/v1/generation",
            "/v1/models/",
            "//v1/models",
            "/V1/models",
            "/v1/./models",
            "/v1/%6dodels",
            "/api/v1/chat/completions/x",
            "/api/v2/models",
        ] {
            for method in [Method::GET, Method::OPTIONS] {
                assert_eq!(route(&method, path), Err(Miss::Path), "{path}");
            }
        }
    }
}
